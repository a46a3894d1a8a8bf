package linux

import (
	"net/netip"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"

	"github.com/funade/funade/internal/vpc"
	"github.com/funade/funade/internal/vpc/dataplanetest"
)

// edit changes the host's tables and removes table afterwards.
func edit(t *testing.T, table *nftables.Table, f func(*nftables.Conn)) {
	t.Helper()
	c, err := newConn()
	if err != nil {
		t.Fatal(err)
	}
	c.AddTable(table)
	f(c)
	if err := c.Flush(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		defer c.CloseLasting()
		c.AddTable(table)
		c.DelTable(table)
		if err := c.Flush(); err != nil {
			t.Error(err)
		}
	})
}

// publish redirects a port of the host's public address, as Docker does for published ports.
func publish(t *testing.T, port uint16, to netip.AddrPort) {
	table := &nftables.Table{Name: "published", Family: nftables.TableFamilyIPv4}
	edit(t, table, func(c *nftables.Conn) {
		ch := c.AddChain(&nftables.Chain{Table: table, Name: "PREROUTING", Type: nftables.ChainTypeNAT, Hooknum: nftables.ChainHookPrerouting, Priority: nftables.ChainPriorityNATDest})
		p := to.Port()
		c.AddRule(&nftables.Rule{Table: table, Chain: ch, Exprs: exprs(daddr(wanHost), portTCP(port), []expr.Any{
			&expr.Immediate{Register: 1, Data: to.Addr().AsSlice()}, &expr.Immediate{Register: 2, Data: []byte{byte(p >> 8), byte(p)}},
			&expr.NAT{Type: expr.NATTypeDestNAT, Family: uint32(nftables.TableFamilyIPv4), RegAddrMin: 1, RegProtoMin: 2},
		})})
		post := c.AddChain(&nftables.Chain{Table: table, Name: "POSTROUTING", Type: nftables.ChainTypeNAT, Hooknum: nftables.ChainHookPostrouting, Priority: nftables.ChainPriorityNATSource})
		c.AddRule(&nftables.Rule{Table: table, Chain: post, Exprs: exprs(oif("lan0"), masquerade())})
	})
}

func portTCP(n uint16) []expr.Any { return port(6, n) }

func forwardChain(table *nftables.Table, name string, policy nftables.ChainPolicy, priority nftables.ChainPriority) *nftables.Chain {
	return &nftables.Chain{Table: table, Name: name, Type: nftables.ChainTypeFilter, Hooknum: nftables.ChainHookForward, Priority: &priority, Policy: &policy}
}

func jumpTo(chain string) []expr.Any {
	return []expr.Any{&expr.Counter{}, &expr.Verdict{Kind: expr.VerdictJump, Chain: chain}}
}

// docker is what Docker leaves in iptables' filter table: policy DROP, an empty DOCKER-USER, rules for docker0.
func docker(t *testing.T) *nftables.Chain {
	table := &nftables.Table{Name: "filter", Family: nftables.TableFamilyIPv4}
	forward := forwardChain(table, "FORWARD", nftables.ChainPolicyDrop, 0)
	edit(t, table, func(c *nftables.Conn) {
		c.AddChain(&nftables.Chain{Table: table, Name: "DOCKER-USER"})
		c.AddChain(forward)
		c.AddRule(&nftables.Rule{Table: table, Chain: forward, Exprs: jumpTo("DOCKER-USER")})
		c.AddRule(&nftables.Rule{Table: table, Chain: forward, Exprs: exprs(oif("docker0"), ctState(expr.CtStateBitESTABLISHED|expr.CtStateBitRELATED), accept())})
		c.AddRule(&nftables.Rule{Table: table, Chain: forward, Exprs: exprs(iif("docker0"), accept())})
	})
	return forward
}

// ufw is what ufw leaves when its default for routed traffic is deny: policy DROP behind a row of chains.
func ufw(t *testing.T) *nftables.Chain {
	table := &nftables.Table{Name: "filter", Family: nftables.TableFamilyIPv4}
	forward := forwardChain(table, "FORWARD", nftables.ChainPolicyDrop, 0)
	edit(t, table, func(c *nftables.Conn) {
		c.AddChain(forward)
		for _, name := range []string{"ufw-before-forward", "ufw-after-forward", "ufw-reject-forward"} {
			sub := c.AddChain(&nftables.Chain{Table: table, Name: name})
			c.AddRule(&nftables.Rule{Table: table, Chain: forward, Exprs: jumpTo(name)})
			if name == "ufw-before-forward" {
				c.AddRule(&nftables.Rule{Table: table, Chain: sub, Exprs: exprs(ctState(expr.CtStateBitESTABLISHED|expr.CtStateBitRELATED), accept())})
			}
		}
	})
	return forward
}

// firewalld is what firewalld leaves: policy accept, and a refusal at the end of a zone's chain that is jumped to.
func firewalld(t *testing.T) *nftables.Chain {
	table := &nftables.Table{Name: "firewalld", Family: nftables.TableFamilyINet}
	forward := forwardChain(table, "filter_FORWARD", nftables.ChainPolicyAccept, 10)
	edit(t, table, func(c *nftables.Conn) {
		zones := c.AddChain(&nftables.Chain{Table: table, Name: "filter_FORWARD_ZONES"})
		public := c.AddChain(&nftables.Chain{Table: table, Name: "filter_FWD_public"})
		c.AddChain(forward)
		c.AddRule(&nftables.Rule{Table: table, Chain: forward, Exprs: exprs(ctState(expr.CtStateBitESTABLISHED|expr.CtStateBitRELATED), accept())})
		c.AddRule(&nftables.Rule{Table: table, Chain: forward, Exprs: exprs(ctState(expr.CtStateBitINVALID), drop())})
		c.AddRule(&nftables.Rule{Table: table, Chain: forward, Exprs: jumpTo("filter_FORWARD_ZONES")})
		c.AddRule(&nftables.Rule{Table: table, Chain: zones, Exprs: []expr.Any{&expr.Verdict{Kind: expr.VerdictGoto, Chain: "filter_FWD_public"}}})
		c.AddRule(&nftables.Rule{Table: table, Chain: public, Exprs: []expr.Any{&expr.Reject{Type: 2, Code: 3}}})
	})
	return forward
}

// iptables makes Docker's rules with iptables itself, and checks that iptables can still read its table in the end.
func iptables(t *testing.T) *nftables.Chain {
	table := &nftables.Table{Name: "filter", Family: nftables.TableFamilyIPv4}
	run := func(args ...string) string {
		t.Helper()
		out, err := exec.Command("iptables-nft", args...).CombinedOutput()
		if err != nil {
			t.Errorf("iptables-nft %v: %v: %s", args, err, out)
		}
		return string(out)
	}
	edit(t, table, func(*nftables.Conn) {})
	run("-P", "FORWARD", "DROP")
	run("-N", "DOCKER-USER")
	run("-A", "FORWARD", "-j", "DOCKER-USER")
	run("-A", "FORWARD", "-i", "docker0", "-m", "comment", "--comment", "containers", "-j", "ACCEPT")
	t.Cleanup(func() {
		if out := run("-S", "FORWARD"); !strings.Contains(out, "-A FORWARD -i "+hostLinkPrefix) || !strings.Contains(out, "containers") {
			t.Errorf("iptables shows:\n%s\nwant our rules beside its own", out)
		}
	})
	return forwardChain(table, "FORWARD", nftables.ChainPolicyDrop, 0)
}

func TestPassesOtherFirewalls(t *testing.T) {
	firewalls := map[string]func(*testing.T) *nftables.Chain{"Docker": docker, "ufw": ufw, "firewalld": firewalld}
	if _, err := exec.LookPath("iptables-nft"); err == nil { // the real one beside the imitations above
		firewalls["iptables"] = iptables
	}
	for name, install := range firewalls {
		t.Run(name, func(t *testing.T) { testFirewall(t, install) })
	}
}

func testFirewall(t *testing.T, install func(*testing.T) *nftables.Chain) {
	c := freshConfig(t)
	d := openPlane(t, c)
	beside := openPlane(t, freshConfig(t))
	a, stays := attach(t, d, dataplanetest.Interface(0)), attach(t, beside, dataplanetest.Interface(0))
	expect := func(when string, pass bool) {
		t.Helper()
		_, err := callFrom(t, a, "198.51.100.10:80", time.Second)
		if (err == nil) != pass {
			t.Errorf("%s: %v, want to pass: %v", when, err, pass)
		}
	}
	chain := install(t) // comes up after us, as after a reload
	expect("before Apply", false)
	for _, plane := range []*Dataplane{d, beside, d, beside} {
		if err := plane.Apply(t.Context(), vpc.InstallRules{}); err != nil {
			t.Fatal(err)
		}
	}
	expect("after Apply", true)
	handles := ruleHandles(t, chain)
	if err := d.Apply(t.Context(), vpc.InstallRules{}); err != nil {
		t.Fatal(err)
	}
	if again := ruleHandles(t, chain); len(again) != len(handles) || again[0] != handles[0] {
		t.Errorf("another Apply changed the rules %v to %v", handles, again)
	}
	if got := outcomeOf(t, a, "192.168.88.1:80"); got != prohibited {
		t.Errorf("a private address meets %s", got)
	}

	insertAtHead(t, chain) // somebody puts a refusal before us
	expect("after an insertion", false)
	for _, plane := range []*Dataplane{d, beside} {
		if err := plane.Apply(t.Context(), vpc.InstallRules{}); err != nil {
			t.Fatal(err)
		}
	}
	expect("after an insertion and Apply", true)

	before := len(ruleHandles(t, chain))
	d.Close()
	if err := Purge(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	if got := len(ruleHandles(t, chain)); got != before-2 {
		t.Errorf("Purge left %d rules of %d, want two less", got, before)
	}
	if got := outcomeOf(t, stays, "198.51.100.10:80"); got != reached+" as "+wanHost.String() {
		t.Errorf("after the other install's Purge the internet: %s", got)
	}
}

func ruleHandles(t *testing.T, chain *nftables.Chain) []uint64 {
	t.Helper()
	c, err := newConn()
	if err != nil {
		t.Fatal(err)
	}
	defer c.CloseLasting()
	rules, err := c.GetRules(chain.Table, chain)
	if err != nil {
		t.Fatal(err)
	}
	var out []uint64
	for _, r := range rules {
		out = append(out, r.Handle)
	}
	return out
}

func insertAtHead(t *testing.T, chain *nftables.Chain) {
	t.Helper()
	c, err := newConn()
	if err != nil {
		t.Fatal(err)
	}
	defer c.CloseLasting()
	c.InsertRule(&nftables.Rule{Table: chain.Table, Chain: chain, Exprs: exprs(iifPrefix(hostLinkPrefix), drop())})
	if err := c.Flush(); err != nil {
		t.Fatal(err)
	}
}

// A refusal of one address is somebody's intention.
func TestLeavesAdministratorsRefusalsInForce(t *testing.T) {
	table := &nftables.Table{Name: "mine", Family: nftables.TableFamilyINet}
	chain := forwardChain(table, "forward", nftables.ChainPolicyAccept, 0)
	edit(t, table, func(c *nftables.Conn) {
		c.AddChain(chain)
		c.AddRule(&nftables.Rule{Table: table, Chain: chain, Exprs: exprs(metaCmp(expr.MetaKeyNFPROTO, expr.CmpOpEq, []byte{2}), daddr(internet), drop())})
	})
	d := openPlane(t, freshConfig(t))
	a := attach(t, d, dataplanetest.Interface(0))
	if _, err := callFrom(t, a, "198.51.100.10:80", 500*time.Millisecond); err == nil {
		t.Error("the address that the administrator refuses was reached")
	}
	if got := outcomeOf(t, a, "203.0.113.1:80"); got != reached+" as "+wanHost.String() {
		t.Errorf("another address meets %s", got)
	}
	if got := ruleHandles(t, chain); len(got) != 1 {
		t.Errorf("the administrator's chain has %d rules, want the one", len(got))
	}
}
