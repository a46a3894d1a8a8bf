package bench

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

var (
	peerSubnet = netip.MustParsePrefix("10.88.0.0/16")
	peerClient = netip.MustParseAddr("10.88.0.4")
	peerServer = netip.MustParseAddr("10.88.0.5")
	peerMACs   = map[netip.Addr]net.HardwareAddr{peerClient: {2, 0x88, 0, 0, 0, 4}, peerServer: {2, 0x88, 0, 0, 0, 5}}
	routerMAC  = net.HardwareAddr{2, 0x88, 0, 0, 0, 1}
)

// newNamespace makes a network namespace that lives until the test's end.
func newNamespace(t *testing.T) *os.File {
	t.Helper()
	here, err := os.Open("/proc/self/ns/net")
	check(t, err)
	defer here.Close()
	var ns *os.File
	check(t, inside(here, func() (err error) {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return err
		}
		if ns, err = os.Open("/proc/thread-self/ns/net"); err != nil {
			return err
		}
		return configure("ipv6/conf/all/disable_ipv6", "1")
	}))
	t.Cleanup(func() { ns.Close() })
	return ns
}

// configure sets a value below /proc/sys/net of the calling thread's namespace; a kernel without IPv6 has none of its.
func configure(key, value string) error {
	err := os.WriteFile("/proc/sys/net/"+key, []byte(value), 0)
	if errors.Is(err, os.ErrNotExist) && strings.HasPrefix(key, "ipv6") {
		return nil
	}
	return err
}

// linked runs f in a namespace with a netlink handle and a link of it, which is brought up first.
func linked(t *testing.T, ns *os.File, name string, f func(h *netlink.Handle, l netlink.Link) error) {
	t.Helper()
	check(t, inside(ns, func() error {
		h, err := netlink.NewHandle(unix.NETLINK_ROUTE)
		if err != nil {
			return err
		}
		defer h.Close()
		l, err := h.LinkByName(name)
		if err != nil {
			return err
		}
		if err := h.LinkSetUp(l); err != nil {
			return err
		}
		return f(h, l)
	}))
}

func veth(t *testing.T, from *os.File, name string, mac net.HardwareAddr, to *os.File, peer string, peerMAC net.HardwareAddr) {
	t.Helper()
	check(t, inside(from, func() error {
		h, err := netlink.NewHandle(unix.NETLINK_ROUTE)
		if err != nil {
			return err
		}
		defer h.Close()
		return h.LinkAdd(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: name, HardwareAddr: mac},
			PeerName: peer, PeerNamespace: netlink.NsFd(int(to.Fd())), PeerHardwareAddr: peerMAC})
	}))
}

func ipNet(a netip.Addr, bits int) *net.IPNet {
	return &net.IPNet{IP: a.AsSlice(), Mask: net.CIDRMask(bits, 32)}
}

func permanent(l netlink.Link, a netip.Addr, mac net.HardwareAddr) *netlink.Neigh {
	return &netlink.Neigh{LinkIndex: l.Attrs().Index, Family: netlink.FAMILY_V4, State: netlink.NUD_PERMANENT, IP: a.AsSlice(), HardwareAddr: mac}
}

// rawPair is one pair of links and nothing else.
func rawPair(t *testing.T) pair {
	t.Helper()
	p := pair{newNamespace(t), newNamespace(t), peerServer}
	veth(t, p.from, "eth0", peerMACs[peerClient], p.to, "eth0", peerMACs[peerServer])
	for ns, a := range map[*os.File]netip.Addr{p.from: peerClient, p.to: peerServer} {
		linked(t, ns, "eth0", func(h *netlink.Handle, l netlink.Link) error {
			return h.AddrAdd(l, &netlink.Addr{IPNet: ipNet(a, 16)})
		})
	}
	return p
}

// routedPair is what the data plane makes of two interfaces, without its rules: a router with a route of 32 bits to each,
// and permanent neighbours on both sides.
func routedPair(t *testing.T) (p pair, router *os.File) {
	t.Helper()
	p, router = pair{newNamespace(t), newNamespace(t), peerServer}, newNamespace(t)
	check(t, inside(router, func() error {
		return errors.Join(configure("ipv4/conf/all/rp_filter", "0"), configure("ipv4/conf/default/rp_filter", "0"), configure("ipv4/ip_forward", "1"))
	}))
	gateway := peerSubnet.Addr().Next()
	for ns, a := range map[*os.File]netip.Addr{p.from: peerClient, p.to: peerServer} {
		name := fmt.Sprintf("v%d", a.As4()[3])
		veth(t, router, name, routerMAC, ns, "eth0", peerMACs[a])
		linked(t, ns, "eth0", func(h *netlink.Handle, l netlink.Link) error {
			way := &netlink.Route{LinkIndex: l.Attrs().Index, Dst: ipNet(netip.IPv4Unspecified(), 0), Gw: gateway.AsSlice()}
			way.SetFlag(netlink.FLAG_ONLINK)
			return errors.Join(h.AddrAdd(l, &netlink.Addr{IPNet: ipNet(a, 16), Flags: unix.IFA_F_NOPREFIXROUTE}),
				h.NeighSet(permanent(l, gateway, routerMAC)), h.RouteAdd(way))
		})
		linked(t, router, name, func(h *netlink.Handle, l netlink.Link) error {
			return errors.Join(h.NeighSet(permanent(l, a, peerMACs[a])),
				h.RouteAdd(&netlink.Route{LinkIndex: l.Attrs().Index, Dst: ipNet(a, 32), Scope: netlink.SCOPE_LINK}))
		})
	}
	return p, router
}

// trackedPair is a routedPair whose router has one rule: answers pass.
func trackedPair(t *testing.T) pair {
	t.Helper()
	p, router := routedPair(t)
	chain(t, router, nftables.ChainPolicyAccept, answersPass())
	return p
}

func answersPass() []expr.Any {
	return []expr.Any{
		&expr.Ct{Register: 1, Key: expr.CtKeySTATE},
		&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: 4, Mask: binaryutil.NativeEndian.PutUint32(expr.CtStateBitESTABLISHED | expr.CtStateBitRELATED), Xor: make([]byte, 4)},
		&expr.Cmp{Op: expr.CmpOpNeq, Register: 1, Data: make([]byte, 4)},
		&expr.Verdict{Kind: expr.VerdictAccept},
	}
}

// chain makes a forward chain with rules.
func chain(t *testing.T, router *os.File, policy nftables.ChainPolicy, rules ...[]expr.Any) {
	t.Helper()
	c, err := nftables.New(nftables.WithNetNSFd(int(router.Fd())))
	check(t, err)
	table := c.AddTable(&nftables.Table{Name: "peer", Family: nftables.TableFamilyIPv4})
	ch := c.AddChain(&nftables.Chain{Table: table, Name: "forward", Type: nftables.ChainTypeFilter,
		Hooknum: nftables.ChainHookForward, Priority: nftables.ChainPriorityFilter, Policy: &policy})
	for n, r := range rules {
		c.AddRule(&nftables.Rule{Table: table, Chain: ch, Exprs: r})
		if n%100 == 99 { // the answers have to fit into a socket
			check(t, c.Flush())
		}
	}
	check(t, c.Flush())
}

// linear is a peer with a list of rules that a new connection passes one after the other.
type linear struct {
	name string
	pair
}

// linearPairs are the iptables programs that work here; without any, the same list in nftables.
func linearPairs(t *testing.T, rules int) []linear {
	t.Helper()
	var out []linear
	for _, name := range []string{"iptables-legacy", "iptables-nft"} {
		program, err := exec.LookPath(name + "-restore")
		if err != nil {
			continue
		}
		p, router := routedPair(t)
		err = inside(router, func() error {
			cmd := exec.Command(program) // in the namespace of the thread that starts it
			cmd.Stdin = strings.NewReader(linearText(rules))
			if text, err := cmd.CombinedOutput(); err != nil {
				return fmt.Errorf("%w: %s", err, text)
			}
			return nil
		})
		if err != nil {
			t.Logf("%s cannot be a peer: %v", name, err)
			continue
		}
		out = append(out, linear{name, p})
	}
	if len(out) == 0 {
		p, router := routedPair(t)
		chain(t, router, nftables.ChainPolicyDrop, linearRules(rules)...)
		out = append(out, linear{"an nftables chain, as no iptables is here,", p})
	}
	return out
}

// linearText begins with what every stateful firewall begins with, and ends with the rule that admits.
func linearText(rules int) string {
	var b strings.Builder
	b.WriteString("*filter\n:INPUT ACCEPT [0:0]\n:FORWARD DROP [0:0]\n:OUTPUT ACCEPT [0:0]\n")
	b.WriteString("-A FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT\n")
	for n := range rules {
		fmt.Fprintf(&b, "-A FORWARD -s %v -p tcp -m tcp --dport %d -j ACCEPT\n", ruleBlock(n), rulePort(n))
	}
	fmt.Fprintf(&b, "-A FORWARD -p tcp -m tcp --dport %d -j ACCEPT\nCOMMIT\n", connectPort)
	return b.String()
}

func linearRules(rules int) [][]expr.Any {
	out := [][]expr.Any{answersPass()}
	admit := func(source *netip.Prefix, port int) {
		var r []expr.Any
		if source != nil {
			r = append(r, &expr.Payload{DestRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: 12, Len: 3},
				&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: source.Addr().AsSlice()[:3]})
		}
		out = append(out, append(r, &expr.Meta{Key: expr.MetaKeyL4PROTO, Register: 1}, &expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{unix.IPPROTO_TCP}},
			&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseTransportHeader, Offset: 2, Len: 2},
			&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: binaryutil.BigEndian.PutUint16(uint16(port))}, &expr.Verdict{Kind: expr.VerdictAccept}))
	}
	for n := range rules {
		block := ruleBlock(n)
		admit(&block, rulePort(n))
	}
	admit(nil, connectPort)
	return out
}

// ruleBlock and rulePort are what the n-th rule of a list is about: never the packets that are measured.
func ruleBlock(n int) netip.Prefix {
	return netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(100 + n/250), byte(n % 250), 0}), 24)
}

func rulePort(n int) int { return 10000 + n%5000 }
