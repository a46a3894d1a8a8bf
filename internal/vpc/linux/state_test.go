package linux

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/nftables"
	"github.com/google/nftables/userdata"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// kernelState lists, sorted, everything that an install has in the kernel and in its folders: pins, mounts and, in the
// host's, the management and the routers' namespaces, links, addresses, routes, routing rules, neighbours, tables with all
// rules and elements, and tracked flows. What is numbered by chance is named instead.
func kernelState(t testing.TB, n names) []string {
	t.Helper()
	var out []string
	for _, dir := range []string{n.netnsDir(), n.usernsDir()} {
		for _, name := range entriesOf(t, dir) {
			out = append(out, "pin "+dir+"/"+name)
		}
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(mounts)) {
		if f := strings.Fields(line); strings.HasPrefix(f[4], n.runDir+"/") {
			out = append(out, "mount "+f[4])
		}
	}
	host, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	defer host.Close()
	of := map[string]*os.File{"host": host}
	routers, err := n.routerPins()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range append([]string{mgmtName}, stringsOf(routers)...) {
		if path := n.netnsDir() + "/" + name; pinned(path) {
			ns, err := os.Open(path)
			if err != nil {
				t.Fatal(err)
			}
			defer ns.Close()
			of[name] = ns
		}
	}
	for name, ns := range of {
		list, err := namespaceState(ns, n, name == "host")
		for tries := 0; errors.Is(err, netlink.ErrDumpInterrupted) && tries < 100; tries++ { // somebody changes it right now
			list, err = namespaceState(ns, n, name == "host")
		}
		if err != nil {
			t.Fatalf("state of %s: %v", name, err)
		}
		for _, line := range list {
			out = append(out, name+" "+line)
		}
	}
	slices.Sort(out)
	return out
}

func stringsOf[T ~string](list []T) (out []string) {
	for _, s := range list {
		out = append(out, string(s))
	}
	return out
}

func entriesOf(t testing.TB, dir string) (out []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	for _, e := range entries {
		out = append(out, e.Name())
	}
	return out
}

// namespaceState reads one network namespace; of the host's only what belongs to the install, as tests share it.
func namespaceState(ns *os.File, n names, shared bool) (out []string, err error) {
	err = inNamespace(ns, func() error {
		h, err := newHandle()
		if err != nil {
			return err
		}
		defer h.Close()
		c, err := newConn()
		if err != nil {
			return err
		}
		defer c.CloseLasting()
		tables, err := c.ListTablesOfFamily(nftables.TableFamilyIPv4)
		if err != nil {
			return err
		}
		for _, table := range tables {
			if shared && table.Name != n.hostTable() {
				continue
			}
			list, err := tableState(c, table)
			if err != nil {
				return err
			}
			out = append(out, list...)
		}
		list, err := linkState(h, func(name string) bool { return !shared || name == n.hostLink() })
		out = append(out, list...)
		if err != nil || shared {
			return err
		}
		if list, err = ruleState(h); err != nil {
			return err
		}
		out = append(out, list...)
		flows, err := netlink.ConntrackTableList(netlink.ConntrackTable, unix.AF_INET)
		for _, f := range flows {
			out = append(out, fmt.Sprintf("flow %d %v:%d > %v:%d", f.Forward.Protocol, f.Forward.SrcIP, f.Forward.SrcPort, f.Forward.DstIP, f.Forward.DstPort))
		}
		return err
	})
	return out, err
}

// linkState lists links with their addresses, routes and neighbours.
func linkState(h *netlink.Handle, wanted func(string) bool) (out []string, err error) {
	links, err := h.LinkList()
	if err != nil {
		return nil, err
	}
	named := map[int]string{0: "-"}
	for _, l := range links {
		a := l.Attrs()
		if !wanted(a.Name) {
			continue
		}
		named[a.Index] = a.Name
		out = append(out, fmt.Sprintf("link %s %v group %d %q %v", a.Name, a.HardwareAddr, a.Group, a.Alias, a.OperState))
		addresses, err := h.AddrList(l, netlink.FAMILY_ALL)
		if err != nil {
			return nil, err
		}
		for _, address := range addresses {
			out = append(out, fmt.Sprintf("address %s %v", a.Name, address.IPNet))
		}
	}
	routes, err := h.RouteListFiltered(netlink.FAMILY_ALL, &netlink.Route{Table: unix.RT_TABLE_UNSPEC}, netlink.RT_FILTER_TABLE)
	if err != nil {
		return nil, err
	}
	for _, r := range routes {
		if name, ok := named[r.LinkIndex]; ok && (wanted("lo") || r.LinkIndex != 0) {
			out = append(out, fmt.Sprintf("route table %d %v dev %s via %v src %v type %d", r.Table, r.Dst, name, r.Gw, r.Src, r.Type))
		}
	}
	neighbours, err := h.NeighList(0, netlink.FAMILY_ALL)
	for _, k := range neighbours {
		if name, ok := named[k.LinkIndex]; ok {
			out = append(out, fmt.Sprintf("neighbour %s %v %v state %d", name, k.IP, k.HardwareAddr, k.State))
		}
	}
	return out, err
}

func ruleState(h *netlink.Handle) (out []string, err error) {
	rules, err := h.RuleList(netlink.FAMILY_ALL)
	for _, r := range rules {
		out = append(out, fmt.Sprintf("ip rule %d from %v mark %d table %d", r.Priority, r.Src, r.Mark, r.Table))
	}
	return out, err
}

// tableState lists chains, rules by their labels, which hold digests, and the elements of sets.
func tableState(c *nftables.Conn, table *nftables.Table) (out []string, err error) {
	chains, err := c.ListChainsOfTableFamily(nftables.TableFamilyIPv4)
	if err != nil {
		return nil, err
	}
	for _, ch := range chains {
		if ch.Table.Name != table.Name {
			continue
		}
		rules, err := c.GetRules(table, ch)
		if err != nil {
			return nil, err
		}
		out = append(out, fmt.Sprintf("chain %s, %d rules", ch.Name, len(rules)))
		for i, r := range rules {
			label, _ := userdata.GetString(r.UserData, userdata.TypeComment)
			out = append(out, fmt.Sprintf("rule %s %d %s", ch.Name, i, label))
		}
	}
	sets, err := c.GetSets(table)
	if err != nil {
		return nil, err
	}
	for _, s := range sets {
		out = append(out, "set "+s.Name)
		elements, err := c.GetSetElements(s)
		if err != nil {
			return nil, err
		}
		for _, e := range elements {
			k := keyOf(e)
			out = append(out, fmt.Sprintf("element %s %x-%x %q %v", s.Name, k.first, k.last, k.value, k.end))
		}
	}
	return out, nil
}

// differences are the lines that only one of two states has.
func differences(had, has []string) (out []string) {
	count := map[string]int{}
	for _, l := range had {
		count[l]--
	}
	for _, l := range has {
		count[l]++
	}
	for l, n := range count {
		switch {
		case n > 0:
			out = append(out, fmt.Sprintf("more: %s (%d)", l, n))
		case n < 0:
			out = append(out, fmt.Sprintf("less: %s (%d)", l, -n))
		}
	}
	slices.Sort(out)
	return out
}

// expectState waits until the state is as wanted: the kernel forgets some things a moment later.
func expectState(t testing.TB, when string, want []string, state func() []string) {
	t.Helper()
	var left []string
	poll(5*time.Second, func() bool {
		left = differences(want, state())
		return len(left) == 0
	})
	if len(left) > 0 {
		t.Errorf("%s:\n%s", when, strings.Join(left[:min(len(left), 40)], "\n"))
	}
}

// resources counts what this process holds: open files, goroutines, threads outside the namespace of its first one.
type resources struct{ files, goroutines, strayThreads int }

func countResources(t testing.TB) (r resources) {
	t.Helper()
	r.files, r.goroutines = len(entriesOf(t, "/proc/self/fd")), runtime.NumGoroutine()
	home, err := os.Readlink("/proc/thread-self/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range entriesOf(t, "/proc/self/task") {
		if at, err := os.Readlink("/proc/self/task/" + id + "/ns/net"); err == nil && at != home {
			r.strayThreads++
		}
	}
	return r
}

// expectResources waits until the process holds no more than before; what ends by itself takes a moment.
func expectResources(t testing.TB, before resources) {
	t.Helper()
	var now resources
	poll(5*time.Second, func() bool {
		now = countResources(t)
		return now.files <= before.files && now.goroutines <= before.goroutines && now.strayThreads <= before.strayThreads
	})
	if now.files > before.files || now.goroutines > before.goroutines || now.strayThreads > before.strayThreads {
		t.Errorf("the process holds %+v, before %+v", now, before)
	}
}
