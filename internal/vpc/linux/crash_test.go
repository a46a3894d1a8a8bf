package linux

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/google/nftables"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/funade/funade/internal/app"
	"github.com/funade/funade/internal/base/failpoint"
	"github.com/funade/funade/internal/vpc"
	"github.com/funade/funade/internal/vpc/dataplanetest"
)

var errCrash = errors.New("crash")

// A step that fails leaves the kernel as a crash at that place would; a new process then finds it.
func TestCrashesAreRecoveredFrom(t *testing.T) {
	points := []string{"vpc/attach/namespaces", "vpc/attach/rules", "vpc/attach/link", "vpc/attach/configured",
		"vpc/detach/link", "vpc/detach/rules", "vpc/detach/netns"}
	if os.Getenv(privateEnv) == "root" {
		points = append(points, "vpc/attach/userns")
	}
	for _, point := range points {
		for name, recover := range map[string]func(*testing.T, *Dataplane){"Attach": recoverByAttach, "Detach": recoverByDetach, "List": recoverByList} {
			t.Run(point+"/"+name, func(t *testing.T) {
				c := freshConfig(t)
				d := openPlane(t, c)
				crash(t, d, point)
				d.Close()
				d = openPlane(t, c)
				recover(t, d)
				expectEmpty(t, d)
			})
		}
	}
}

func crash(t *testing.T, d *Dataplane, point string) {
	t.Helper()
	disable := failpoint.Enable(point, func() error { return errCrash })
	defer disable()
	i := dataplanetest.Interface(0)
	if os.Getenv(privateEnv) == "root" {
		i.UIDBase = 300000
	}
	_, err := d.Attach(t.Context(), i)
	if err == nil {
		err = d.Detach(t.Context(), i.ID)
	}
	if !errors.Is(err, errCrash) {
		t.Fatalf("failpoint %s was not hit: %v", point, err)
	}
}

func recoverByAttach(t *testing.T, d *Dataplane) {
	a := attach(t, d, dataplanetest.Interface(0))
	if got := outcomeOf(t, a, "198.51.100.10:80"); got != reached+" as "+wanHost.String() {
		t.Errorf("the recovered instance meets %s", got)
	}
	recoverByDetach(t, d)
}

func recoverByDetach(t *testing.T, d *Dataplane) {
	if err := d.Detach(t.Context(), dataplanetest.Interface(0).ID); err != nil {
		t.Error(err)
	}
}

func recoverByList(t *testing.T, d *Dataplane) {
	l, err := d.List(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range l {
		if err := d.Detach(t.Context(), a.ID); err != nil {
			t.Error(err)
		}
	}
}

// expectEmpty checks that no interface left anything.
func expectEmpty(t *testing.T, d *Dataplane) {
	t.Helper()
	for _, dir := range []string{d.netnsDir(), d.usernsDir()} {
		entries, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			if e.Name() != mgmtName {
				t.Errorf("%s/%s is left", dir, e.Name())
			}
		}
	}
	links, err := d.mgmt.LinkList()
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range links {
		if name := l.Attrs().Name; name != "lo" && name != mgmtUplink {
			t.Errorf("link %s is left", name)
		}
	}
	if err := d.inMgmt(func(c *nftables.Conn) error {
		elements, err := c.GetSetElements(set{name: sourcesSet, key: sourceType}.ref(table{name: mgmtTable}.ref()))
		if len(elements) > 0 {
			t.Errorf("%d elements of the sources are left", len(elements))
		}
		return err
	}); err != nil {
		t.Error(err)
	}
}

// After a reboot the run folder is empty and so is the kernel; the rows are attached again.
func TestRebootIsRecoveredFrom(t *testing.T) {
	c := freshConfig(t)
	d := openPlane(t, c)
	before := attach(t, d, dataplanetest.Interface(0))
	d.Close()
	if err := Purge(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	expectNothing(t, c)
	if err := os.RemoveAll(c.RunDir); err != nil {
		t.Fatal(err)
	}
	d = openPlane(t, c)
	if after := attach(t, d, dataplanetest.Interface(0)); !reflect.DeepEqual(after, before) {
		t.Errorf("Attach = %+v, before the reboot %+v", after, before)
	}
	if l, err := d.List(t.Context()); err != nil || len(l) != 1 {
		t.Errorf("List = %+v, %v", l, err)
	}
}

// A row whose slot changed, and one that comes after it, get what their rows say.
func TestAnInterfaceMovesToAnotherSlot(t *testing.T) {
	d := openPlane(t, freshConfig(t))
	i := dataplanetest.Interface(0)
	attach(t, d, i)
	i.Index = 7
	a := attach(t, d, i)
	next := dataplanetest.Interface(1)
	next.Index = 0
	for _, a := range []vpc.Attachment{a, attach(t, d, next)} {
		if got := outcomeOf(t, a, "198.51.100.10:80"); got != reached+" as "+wanHost.String() {
			t.Errorf("%s at %v meets %s", a.ID, a.Address, got)
		}
	}
	if l, err := d.List(t.Context()); err != nil || len(l) != 2 || !reflect.DeepEqual(l[0], a) {
		t.Errorf("List = %+v, %v", l, err)
	}
}

// A process that dies leaves the namespaces; one that closed refuses to work on.
func TestClosedRefuses(t *testing.T) {
	d := openPlane(t, freshConfig(t))
	a := attach(t, d, dataplanetest.Interface(0))
	l, err := d.ListenDoor(t.Context(), 80)
	if err != nil {
		t.Fatal(err)
	}
	d.Close()
	_, attachErr := d.Attach(t.Context(), dataplanetest.Interface(1))
	_, listErr := d.List(t.Context())
	_, dialErr := d.Dial(t.Context(), a.ID, netip.AddrPortFrom(a.Address, 80))
	_, doorErr := d.ListenDoor(t.Context(), 443)
	for what, err := range map[string]error{"Attach": attachErr, "List": listErr, "Dial": dialErr, "ListenDoor": doorErr,
		"Detach": d.Detach(t.Context(), a.ID), "Apply": d.Apply(t.Context(), vpc.InstallRules{})} {
		if !errors.Is(err, errClosed) {
			t.Errorf("%s after Close: %v", what, err)
		}
	}
	if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Accept at the door after Close: %v", err)
	}
}

func TestIPv6IsOff(t *testing.T) {
	d := openPlane(t, freshConfig(t))
	a := attach(t, d, dataplanetest.Interface(0))
	mgmt := vpc.Attachment{NetnsPath: d.mgmtPin()}
	for _, ns := range []vpc.Attachment{a, mgmt} {
		if err := inside(t, ns, func() error {
			b, err := os.ReadFile("/proc/thread-self/net/if_inet6")
			if len(b) > 0 {
				t.Errorf("%s has IPv6 addresses:\n%s", ns.NetnsPath, b)
			}
			if errors.Is(err, os.ErrNotExist) {
				return nil // a kernel without IPv6
			}
			return err
		}); err != nil {
			t.Error(err)
		}
	}
	if b, err := os.ReadFile("/proc/thread-self/net/if_inet6"); err == nil && strings.Contains(string(b), d.hostLink()) {
		t.Errorf("the transit link has an IPv6 address:\n%s", b)
	}
}

func TestBadConfigurations(t *testing.T) {
	good := Config{Install: "0000beef", RunDir: "/run/x", Prefix: netip.MustParsePrefix("100.64.0.0/20"), TransitPrefix: netip.MustParsePrefix("100.127.0.4/30")}
	if _, err := good.names(); err != nil {
		t.Fatal(err)
	}
	for what, change := range map[string]func(*Config){
		"install":            func(c *Config) { c.Install = "x/../y" },
		"relative folder":    func(c *Config) { c.RunDir = "run" },
		"prefix":             func(c *Config) { c.Prefix = netip.MustParsePrefix("10.0.0.0/20") },
		"transit length":     func(c *Config) { c.TransitPrefix = netip.MustParsePrefix("100.127.0.0/29") },
		"transit host bits":  func(c *Config) { c.TransitPrefix = netip.MustParsePrefix("100.127.0.5/30") },
		"transit range":      func(c *Config) { c.TransitPrefix = netip.MustParsePrefix("10.0.0.0/30") },
		"overlap":            func(c *Config) { c.Prefix = netip.MustParsePrefix("100.127.0.0/20") },
		"flows":              func(c *Config) { c.MaxFlows = -1 },
		"upstream":           func(c *Config) { c.DNSUpstreams = []netip.AddrPort{{}} },
		"too many upstreams": func(c *Config) { c.DNSUpstreams = make([]netip.AddrPort, 9) },
	} {
		c := good
		change(&c)
		if d, err := Open(t.Context(), c); err == nil {
			d.Close()
			t.Errorf("Open with a bad %s succeeded", what)
		}
	}
}

func TestManyInterfacesLeaveNothing(t *testing.T) {
	d := openPlane(t, freshConfig(t))
	for range 3 {
		var ids []app.InterfaceID
		for index := range 30 {
			ids = append(ids, attach(t, d, dataplanetest.Interface(index)).ID)
		}
		for _, id := range ids {
			if err := d.Detach(t.Context(), id); err != nil {
				t.Fatal(err)
			}
		}
	}
	expectEmpty(t, d)
}

// The next owner of an address does not inherit the flows of the last one.
func TestDetachForgetsFlows(t *testing.T) {
	d := openPlane(t, freshConfig(t))
	a, stays := attach(t, d, dataplanetest.Interface(0)), attach(t, d, dataplanetest.Interface(1))
	for _, instance := range []vpc.Attachment{a, stays} {
		if got := outcomeOf(t, instance, "198.51.100.10:80"); got != reached+" as "+wanHost.String() {
			t.Fatalf("the internet: %s", got)
		}
	}
	flows := func(of netip.Addr) (n int) {
		t.Helper()
		if err := inNamespace(d.mgmtNS, func() error {
			list, err := netlink.ConntrackTableList(netlink.ConntrackTable, unix.AF_INET)
			for _, f := range list {
				if f.Forward.SrcIP.Equal(of.AsSlice()) || f.Forward.DstIP.Equal(of.AsSlice()) {
					n++
				}
			}
			return err
		}); err != nil {
			t.Fatal(err)
		}
		return n
	}
	if flows(a.Address) == 0 || flows(stays.Address) == 0 {
		t.Fatal("no flow is tracked, so the test proves nothing")
	}
	if err := d.Detach(t.Context(), a.ID); err != nil {
		t.Fatal(err)
	}
	if got := flows(a.Address); got != 0 {
		t.Errorf("%d flows are left", got)
	}
	if flows(stays.Address) == 0 {
		t.Error("the other instance lost its flows")
	}
}

func BenchmarkDial(b *testing.B) {
	d := openPlane(b, freshConfig(b))
	a := attach(b, d, dataplanetest.Interface(0))
	serveIn(b, a, ":8080", func(l net.Listener) { dataplanetest.Greet(l, "") })
	for b.Loop() {
		c, err := d.Dial(b.Context(), a.ID, netip.AddrPortFrom(a.Address, 8080))
		if err != nil {
			b.Fatal(err)
		}
		c.Close()
	}
}

func BenchmarkAttach(b *testing.B) {
	for name, base := range map[string]uint32{"plain": 0, "userns": 300000} {
		b.Run(name, func(b *testing.B) {
			if base != 0 && os.Getenv(privateEnv) == "user" {
				b.Skip("mapping a range of uids needs root; run the benchmark as root")
			}
			d := openPlane(b, freshConfig(b))
			i := dataplanetest.Interface(0)
			i.UIDBase = base
			for b.Loop() {
				attach(b, d, i)
				b.StopTimer()
				if err := d.Detach(b.Context(), i.ID); err != nil {
					b.Fatal(err)
				}
				b.StartTimer()
			}
		})
	}
}

func BenchmarkApplyUnchanged(b *testing.B) {
	d := openPlane(b, freshConfig(b))
	for index := range 100 {
		attach(b, d, dataplanetest.Interface(index))
	}
	for b.Loop() {
		if err := d.repair(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
}
