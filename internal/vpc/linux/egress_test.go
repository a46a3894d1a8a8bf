package linux

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/nftables"
	"github.com/miekg/dns"
	"golang.org/x/sys/unix"

	"github.com/funade/funade/internal/vpc"
	"github.com/funade/funade/internal/vpc/dataplanetest"
)

// What a connection attempt meets.
const (
	reached    = "reached"
	prohibited = "prohibited" // refused at once by ICMP
)

// outcomeOf runs a connection attempt of an instance to its end.
func outcomeOf(t *testing.T, a vpc.Attachment, address string) string {
	t.Helper()
	said, err := callFrom(t, a, address, 5*time.Second)
	switch {
	case err == nil && said != "":
		return reached + " as " + said
	case err == nil:
		return reached
	case errors.Is(err, unix.EHOSTUNREACH):
		return prohibited
	}
	return err.Error()
}

// egressCase is a destination and what an instance meets there: at first, with the LAN opened, with everything opened.
type egressCase struct{ what, address, closed, lanOpen, anyOpen string }

func TestEgressReachesTheOutsideAndNothingElse(t *testing.T) {
	d := openPlane(t, freshConfig(t))
	second := openPlane(t, freshConfig(t)) // an install beside
	a, other := attach(t, d, dataplanetest.Interface(0)), attach(t, d, dataplanetest.Interface(1))
	foreign := attach(t, second, dataplanetest.Interface(0))
	for _, instance := range []vpc.Attachment{other, foreign} {
		serveIn(t, instance, ":8080", sayCaller)
	}
	if l, err := d.listenTCP(t.Context(), netip.AddrPortFrom(d.Door(), 8443)); err != nil { // no door port
		t.Fatal(err)
	} else {
		defer l.Close()
	}
	publish(t, 8088, netip.AddrPortFrom(lanPeer, echoPort))

	asHost := func(host netip.Addr) string { return reached + " as " + host.String() }
	cases := []egressCase{
		{"the internet", "198.51.100.10:80", asHost(wanHost), asHost(wanHost), asHost(wanHost)},
		{"the internet's next hop", "203.0.113.1:80", asHost(wanHost), asHost(wanHost), asHost(wanHost)},
		{"a LAN host", "192.168.88.1:80", prohibited, asHost(lanHost), asHost(lanHost)},
		{"the host's public address", "203.0.113.2:9000", prohibited, prohibited, prohibited},
		{"the host's LAN address", "192.168.88.2:9000", prohibited, prohibited, prohibited},
		{"the host's transit address", d.hostTransit.String() + ":9000", prohibited, prohibited, prohibited},
		{"the own transit address", d.mgmtTransit.String() + ":53", prohibited, prohibited, prohibited},
		{"another install's transit address", second.mgmtTransit.String() + ":53", prohibited, prohibited, prohibited},
		{"a port that the host publishes", "203.0.113.2:8088", prohibited, prohibited, prohibited},
		{"another instance", other.Address.String() + ":8080", prohibited, prohibited, prohibited},
		{"an unused managed address", d.Prefix().Addr().String() + ":80", prohibited, prohibited, prohibited},
		{"another install's instance", foreign.Address.String() + ":8080", prohibited, prohibited, ""},
		{"the gateway", d.Gateway().String() + ":80", prohibited, prohibited, prohibited},
		{"the resolver's other ports", d.Resolver().String() + ":80", prohibited, prohibited, prohibited},
		{"the door's other ports", d.Door().String() + ":8443", prohibited, prohibited, prohibited},
		{"the metadata service", "169.254.169.254:80", prohibited, prohibited, prohibited},
		{"the credential address", "169.254.170.2:80", prohibited, prohibited, prohibited},
		{"10.0.0.0/8", "10.1.2.3:80", prohibited, prohibited, ""},
		{"172.16.0.0/12", "172.31.255.1:80", prohibited, prohibited, ""},
		{"carrier-grade NAT", "100.100.1.1:80", prohibited, prohibited, ""},
		{"a reserved address", "240.0.0.1:80", prohibited, prohibited, prohibited},
	}
	for i, allow := range []string{"", "192.168.88.0/24", "0.0.0.0/0"} {
		r := vpc.InstallRules{}
		if allow != "" {
			r.EgressAllow = []netip.Prefix{netip.MustParsePrefix(allow)}
		}
		if err := d.Apply(t.Context(), r); err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup // a refusal takes a second: see the package's documentation
		for _, c := range cases {
			want := []string{c.closed, c.lanOpen, c.anyOpen}[i]
			if want == "" {
				continue // opened, and nobody is there
			}
			wg.Go(func() {
				if got := outcomeOf(t, a, c.address); got != want {
					t.Errorf("%s (%s) with %q opened: %s, want %s", c.what, c.address, allow, got, want)
				}
			})
		}
		wg.Wait()
	}
	if said, err := callInWAN(t, "203.0.113.2:8088"); err != nil || said == "" {
		t.Errorf("the published port does not work from the internet, so the test proves nothing: %q, %v", said, err)
	}
}

func callInWAN(t *testing.T, address string) (said string, err error) {
	t.Helper()
	err = inNamespace(wanNS, func() (err error) {
		said, err = call(address, 5*time.Second)
		return err
	})
	return said, err
}

func TestNobodyCallsIn(t *testing.T) {
	d := openPlane(t, freshConfig(t))
	a := attach(t, d, dataplanetest.Interface(0))
	serveIn(t, a, ":8080", sayCaller)
	routes := []struct {
		from *os.File
		to   netip.Addr
	}{{nil, a.Address}, {nil, d.mgmtTransit}, {wanNS, d.mgmtTransit}}
	for _, r := range routes {
		try := func() error {
			said, err := call(netip.AddrPortFrom(r.to, 8080).String(), 300*time.Millisecond)
			if err == nil {
				return fmt.Errorf("%v answered %q", r.to, said)
			}
			return nil
		}
		var err error
		if r.from == nil {
			err = onThread(try)
		} else {
			err = inNamespace(r.from, try)
		}
		if err != nil {
			t.Error(err)
		}
	}
}

func TestNamesAreAnswered(t *testing.T) {
	d := openPlane(t, freshConfig(t))
	a := attach(t, d, dataplanetest.Interface(0))
	if err := d.Apply(t.Context(), vpc.InstallRules{DoorNames: func(name string) bool { return name == "web.us-east-1.apps.internal" }}); err != nil {
		t.Fatal(err)
	}
	for _, network := range []string{"udp", "tcp"} {
		for _, c := range []struct {
			name  string
			kind  uint16
			rcode int
			count int
			first string
		}{
			{"web.us-east-1.apps.internal.", dns.TypeA, dns.RcodeSuccess, 1, d.Door().String()},
			{"WEB.us-east-1.apps.internal.", dns.TypeA, dns.RcodeSuccess, 1, d.Door().String()},
			{"web.us-east-1.apps.internal.", dns.TypeAAAA, dns.RcodeSuccess, 0, ""},
			{"unknown.us-east-1.apps.internal.", dns.TypeA, dns.RcodeNameError, 0, ""},
			{"example.test.", dns.TypeA, dns.RcodeSuccess, 1, internet.String()},
			{"nothing.test.", dns.TypeA, dns.RcodeNameError, 0, ""},
			{"big.test.", dns.TypeA, dns.RcodeSuccess, 200, "10.0.0.0"},
		} {
			m := lookUp(t, a, network, c.name, c.kind)
			if m == nil {
				continue
			}
			if network == "udp" && c.count == 200 {
				if !m.Truncated || m.Len() > 1232 {
					t.Errorf("%s over udp: truncated %v with %d bytes", c.name, m.Truncated, m.Len())
				}
				continue
			}
			if m.Rcode != c.rcode || len(m.Answer) != c.count {
				t.Errorf("%s over %s: code %d with %d answers, want %d with %d", c.name, network, m.Rcode, len(m.Answer), c.rcode, c.count)
			} else if c.first != "" && m.Answer[0].(*dns.A).A.String() != c.first {
				t.Errorf("%s over %s: %v, want %s", c.name, network, m.Answer[0], c.first)
			}
		}
	}
}

func lookUp(t *testing.T, a vpc.Attachment, network, name string, kind uint16) (m *dns.Msg) {
	t.Helper()
	err := inside(t, a, func() (err error) {
		c := dns.Client{Net: network, Timeout: 5 * time.Second}
		m, _, err = c.Exchange(new(dns.Msg).SetQuestion(name, kind), netip.AddrPortFrom(a.Resolvers[0], 53).String())
		return err
	})
	if err != nil {
		t.Errorf("%s over %s: %v", name, network, err)
	}
	return m
}

// send makes an instance send a UDP packet to port 7 of the internet with a source address of its choice.
func send(t *testing.T, a vpc.Attachment, from netip.Addr, text string) {
	t.Helper()
	packet := make([]byte, 28, 28+len(text))
	packet[0], packet[8], packet[9] = 0x45, 64, unix.IPPROTO_UDP
	copy(packet[12:], from.AsSlice())
	copy(packet[16:], internet.AsSlice())
	binary.BigEndian.PutUint16(packet[20:], 5000)
	binary.BigEndian.PutUint16(packet[22:], 7)
	binary.BigEndian.PutUint16(packet[24:], uint16(8+len(text)))
	packet = append(packet, text...)
	if err := inside(t, a, func() error {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_RAW, unix.IPPROTO_RAW)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		return unix.Sendto(fd, packet, 0, &unix.SockaddrInet4{Addr: internet.As4()})
	}); err != nil {
		t.Fatal(err)
	}
}

func TestForgedSourcesAreDropped(t *testing.T) {
	d := openPlane(t, freshConfig(t))
	a, other := attach(t, d, dataplanetest.Interface(0)), attach(t, d, dataplanetest.Interface(1))
	var mu sync.Mutex
	seen := map[string]netip.Addr{}
	last := make(chan struct{})
	f := func(from netip.Addr, text string) {
		mu.Lock()
		defer mu.Unlock()
		if seen[text] = from; text == "true" {
			close(last)
		}
	}
	udpSeen.Store(&f)
	defer udpSeen.Store(nil)
	for _, forged := range []netip.Addr{other.Address, d.Gateway(), d.mgmtTransit, wanHost, netip.MustParseAddr("8.8.8.8")} {
		send(t, a, forged, "forged as "+forged.String())
	}
	send(t, a, a.Address, "true")
	select {
	case <-last:
	case <-time.After(5 * time.Second):
		t.Fatal("the true packet did not arrive")
	}
	mu.Lock()
	defer mu.Unlock()
	if len(seen) != 1 || seen["true"] != wanHost {
		t.Errorf("the internet saw %v, want the true packet only, from %v", seen, wanHost)
	}
}

// ping sends an echo request from the current thread's namespace without privileges and awaits the reply.
func ping(to netip.Addr) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM, unix.IPPROTO_ICMP)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: 2}); err != nil {
		return err
	}
	if err := unix.Connect(fd, &unix.SockaddrInet4{Addr: to.As4()}); err != nil {
		return err
	}
	if _, err := unix.Write(fd, []byte{8, 0, 0, 0, 0, 0, 0, 1}); err != nil {
		return err
	}
	_, err = unix.Read(fd, make([]byte, 64))
	return err
}

func TestUserNamespaceOwnsTheNetwork(t *testing.T) {
	if os.Getenv(privateEnv) == "user" {
		t.Skip("mapping a range of uids needs root; run the test as root")
	}
	if err := CheckUserNamespaces(300000); err != nil {
		t.Fatal(err)
	}
	d := openPlane(t, freshConfig(t))
	i := dataplanetest.Interface(0)
	i.UIDBase = 300000
	a := attach(t, d, i)
	if a.UsernsPath == "" || !owns(a.UsernsPath, a.NetnsPath) {
		t.Fatalf("%q does not own %q", a.UsernsPath, a.NetnsPath)
	}
	before := inode(t, a.NetnsPath)
	if again := attach(t, d, i); !reflect.DeepEqual(again, a) || inode(t, a.NetnsPath) != before {
		t.Errorf("Attach again = %+v with another namespace, want %+v", again, a)
	}
	if l, err := d.List(t.Context()); err != nil || len(l) != 1 || !reflect.DeepEqual(l[0], a) {
		t.Errorf("List = %+v, %v; want %+v", l, err, a)
	}
	if got := outcomeOf(t, a, "198.51.100.10:80"); got != reached+" as "+wanHost.String() {
		t.Errorf("the internet: %s", got)
	}
	for _, c := range []struct {
		to   netip.Addr
		want error
	}{{internet, nil}, {lanPeer, unix.EHOSTUNREACH}} {
		if err := inside(t, a, func() error { return ping(c.to) }); !errors.Is(err, c.want) {
			t.Errorf("ping of %v: %v, want %v", c.to, err, c.want)
		}
	}
	for file, want := range map[string]string{"ipv4/ping_group_range": "0\t2147483647", "ipv4/ip_unprivileged_port_start": "0", "ipv6/conf/all/disable_ipv6": "1"} {
		var got []byte
		if err := inside(t, a, func() (err error) {
			got, err = os.ReadFile("/proc/sys/net/" + file)
			return err
		}); err != nil || strings.TrimSpace(string(got)) != want {
			t.Errorf("%s = %q, %v; want %q", file, got, err, want)
		}
	}
	i.UIDBase = 0 // the host turned out not to support it: made anew without
	if a := attach(t, d, i); a.UsernsPath != "" || inode(t, a.NetnsPath) == before {
		t.Errorf("Attach without a uid base = %+v in the old namespace", a)
	}
}

func inode(t *testing.T, path string) uint64 {
	t.Helper()
	var s unix.Stat_t
	if err := unix.Stat(path, &s); err != nil {
		t.Fatal(err)
	}
	return s.Ino
}

func TestFlowsOfOneInstanceAreLimited(t *testing.T) {
	c := freshConfig(t)
	c.MaxFlows = 5
	d := openPlane(t, c)
	a, other := attach(t, d, dataplanetest.Interface(0)), attach(t, d, dataplanetest.Interface(1))
	open := 0
	if err := inside(t, a, func() error {
		for range 20 {
			conn, err := net.Dial("udp4", "198.51.100.10:9")
			if err != nil {
				return err
			}
			defer conn.Close()
			if _, err := conn.Write([]byte("x")); err == nil {
				open++
			}
		}
		_, err := call("198.51.100.10:80", 500*time.Millisecond)
		if err == nil {
			return errors.New("a flow beyond the limit got through")
		}
		return nil
	}); err != nil {
		t.Error(err)
	}
	if open == 0 {
		t.Error("no packet could be sent at all")
	}
	if got := outcomeOf(t, other, "198.51.100.10:80"); got != reached+" as "+wanHost.String() {
		t.Errorf("the other instance meets %s", got)
	}
}

func flushAll(t *testing.T, d *Dataplane) {
	t.Helper()
	flush := func(c *nftables.Conn) error {
		c.FlushRuleset()
		return c.Flush()
	}
	c, err := newConn()
	if err != nil {
		t.Fatal(err)
	}
	defer c.CloseLasting()
	if err := errors.Join(flush(c), d.inMgmt(flush)); err != nil {
		t.Fatal(err)
	}
}

func TestApplyRepairsWhatSomebodyFlushed(t *testing.T) {
	d := openPlane(t, freshConfig(t))
	a, other := attach(t, d, dataplanetest.Interface(0)), attach(t, d, dataplanetest.Interface(1))
	serveIn(t, other, ":8080", sayCaller)
	expect := func(when string) {
		t.Helper()
		for address, want := range map[string]string{"198.51.100.10:80": reached + " as " + wanHost.String(), "192.168.88.1:80": prohibited,
			other.Address.String() + ":8080": prohibited, "203.0.113.2:9000": prohibited} {
			if got := outcomeOf(t, a, address); got != want {
				t.Errorf("%s: %s meets %s, want %s", when, address, got, want)
			}
		}
	}
	expect("at first")
	flushAll(t, d)
	if got := outcomeOf(t, a, other.Address.String()+":8080"); got == prohibited {
		t.Error("the flush changed nothing, so the test proves nothing")
	}
	if err := d.Apply(t.Context(), vpc.InstallRules{}); err != nil {
		t.Fatal(err)
	}
	expect("after a flush")
	flushAll(t, d)
	attach(t, d, dataplanetest.Interface(2)) // puts the management table back on the way
	if got := outcomeOf(t, a, other.Address.String()+":8080"); got != prohibited {
		t.Errorf("after a flush and an Attach: another instance meets %s", got)
	}
	if err := deleteLink(d.host, d.hostLink()); err != nil {
		t.Fatal(err)
	}
	if err := unpin(d.mgmtPin()); err != nil {
		t.Fatal(err)
	}
	if err := d.Apply(t.Context(), vpc.InstallRules{}); err != nil {
		t.Fatal(err)
	}
	expect("after the loss of the transit link")
	if !pinned(d.mgmtPin()) {
		t.Error("the management namespace is not pinned again")
	}
}

func TestApplyAgainTouchesNoRule(t *testing.T) {
	d := openPlane(t, freshConfig(t))
	for index := range 3 {
		attach(t, d, dataplanetest.Interface(index))
	}
	allow := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/9"), netip.MustParsePrefix("10.128.0.0/9"), netip.MustParsePrefix("192.168.0.0/16")}
	if err := d.Apply(t.Context(), vpc.InstallRules{EgressAllow: allow}); err != nil {
		t.Fatal(err)
	}
	check := func(c *nftables.Conn, want table) {
		t.Helper()
		if changed, err := applyTable(c, want); changed || err != nil {
			t.Errorf("table %s differs from what was applied: %v, %v", want.name, changed, err)
		}
	}
	d.inMgmt(func(c *nftables.Conn) error {
		check(c, d.mgmtRules())
		return nil
	})
	c, err := newConn()
	if err != nil {
		t.Fatal(err)
	}
	defer c.CloseLasting()
	check(c, d.hostRules())

	d.Close()
	d = openPlane(t, Config{Install: d.install, RunDir: d.runDir, Prefix: d.Prefix(), TransitPrefix: d.transit})
	if got := fmt.Sprint(d.allow); got != "[10.0.0.0/8 192.168.0.0/16]" {
		t.Errorf("a new process read the opened ranges %s", got)
	}
}

func TestForwardingIsSwitchedOnAndSaid(t *testing.T) {
	const path = "/proc/sys/net/ipv4/ip_forward"
	if err := os.WriteFile(path, []byte("0"), 0); err != nil {
		t.Fatal(err)
	}
	c := freshConfig(t)
	var log strings.Builder
	c.Logger = slog.New(slog.NewTextHandler(&log, nil))
	for range 2 { // the second process remembers
		d, err := Open(context.Background(), c)
		if err != nil {
			t.Fatal(err)
		}
		if b, err := os.ReadFile(path); err != nil || strings.TrimSpace(string(b)) != "1" {
			t.Errorf("ip_forward = %q, %v", b, err)
		}
		if p := d.Problems(); len(p) != 1 || !strings.Contains(p[0], "ip_forward") {
			t.Errorf("Problems = %q, want one about ip_forward", p)
		}
		d.Close()
	}
	if strings.Count(log.String(), "ip_forward") != 1 {
		t.Errorf("the log mentions ip_forward other than once:\n%s", log.String())
	}
}

func TestDialHonoursItsContext(t *testing.T) {
	d := openPlane(t, freshConfig(t))
	a := attach(t, d, dataplanetest.Interface(0))
	var l net.Listener // with a full queue, so that connecting takes for ever
	if err := inside(t, a, func() error {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
		if err != nil {
			return err
		}
		f := os.NewFile(uintptr(fd), "listener")
		defer f.Close()
		if err := errors.Join(unix.Bind(fd, &unix.SockaddrInet4{Port: 8080}), unix.Listen(fd, 0)); err != nil {
			return err
		}
		l, err = net.FileListener(f)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for range 10 {
		ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		started := time.Now()
		conn, err := d.Dial(ctx, a.ID, netip.AddrPortFrom(a.Address, 8080))
		cancel()
		if err == nil {
			defer conn.Close()
			continue
		}
		if !errors.Is(err, context.DeadlineExceeded) || time.Since(started) > 5*time.Second {
			t.Errorf("Dial = %v after %v", err, time.Since(started))
		}
		ctx, stop := context.WithCancel(t.Context())
		time.AfterFunc(20*time.Millisecond, stop)
		if _, err := d.Dial(ctx, a.ID, netip.AddrPortFrom(a.Address, 8080)); !errors.Is(err, context.Canceled) {
			t.Errorf("Dial with a context that is cancelled meanwhile = %v", err)
		}
		return
	}
	t.Error("the queue never filled")
}

func TestTheDoorKeepsHalfClose(t *testing.T) {
	d := openPlane(t, freshConfig(t))
	a := attach(t, d, dataplanetest.Interface(0))
	l, err := d.ListenDoor(t.Context(), 80)
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		c, err := l.Accept()
		if err != nil {
			return
		}
		io.WriteString(c, "bye")
		c.(interface{ CloseWrite() error }).CloseWrite()
		io.Copy(io.Discard, c)
		c.Close()
	}()
	if said, err := callFrom(t, a, netip.AddrPortFrom(d.Door(), 80).String(), 5*time.Second); said != "bye" || err != nil {
		t.Errorf("the caller read %q, %v", said, err)
	}
}
