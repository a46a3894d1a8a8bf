package linux

import (
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/google/nftables/userdata"
)

// An accept in our own table does not overrule a drop in somebody else's. So tagged rules that accept the transit link
// go to the head of every other forward chain that would refuse it; what may pass there has been decided before.

// foreignChains returns the base chains of others at the forward hook that see IPv4 packets.
func foreignChains(c *nftables.Conn) ([]*nftables.Chain, error) {
	var found []*nftables.Chain
	for _, family := range []nftables.TableFamily{nftables.TableFamilyIPv4, nftables.TableFamilyINet} {
		chains, err := c.ListChainsOfTableFamily(family)
		if err != nil {
			return nil, fmt.Errorf("cannot list nftables chains: %w", err)
		}
		for _, ch := range chains {
			if ch.Hooknum != nil && *ch.Hooknum == *nftables.ChainHookForward && !strings.HasPrefix(ch.Table.Name, hostTablePrefix) {
				ch.Table.Family = family
				found = append(found, ch)
			}
		}
	}
	return found, nil
}

// passForeign puts our rules where they are needed and missing; it returns the chains it changed.
func (n names) passForeign(c *nftables.Conn) ([]string, error) {
	chains, err := foreignChains(c)
	if err != nil {
		return nil, err
	}
	var changed []string
	for _, ch := range chains {
		refuses := ch.Policy != nil && *ch.Policy == nftables.ChainPolicyDrop
		if !refuses {
			if refuses, err = refusesLinks(c, ch, map[string]bool{}); err != nil {
				return changed, err
			}
		}
		if !refuses {
			continue
		}
		rules, err := c.GetRules(ch.Table, ch)
		if err != nil {
			return changed, fmt.Errorf("cannot list rules of chain %s: %w", ch.Name, err)
		}
		if n.atHead(rules) {
			continue
		}
		if err := n.insertPass(c, ch, rules); err != nil {
			return changed, err
		}
		changed = append(changed, ch.Table.Name+" "+ch.Name)
	}
	return changed, nil
}

// passRules accept both directions. They use only what iptables can show too, else it would call its own table foreign.
func (n names) passRules() [][]expr.Any {
	return [][]expr.Any{
		exprs(iif(n.hostLink()), []expr.Any{&expr.Counter{}}, accept()),
		exprs(oif(n.hostLink()), []expr.Any{&expr.Counter{}}, accept()),
	}
}

// atHead reports whether our rules stand before everything but other installs' rules.
func (n names) atHead(rules []*nftables.Rule) bool {
	mine := 0
	for _, r := range rules {
		switch tag, _ := userdata.GetString(r.UserData, userdata.TypeComment); {
		case tag == n.tag():
			mine++
		case strings.HasPrefix(tag, tagPrefix):
		default:
			return mine == len(n.passRules())
		}
	}
	return mine == len(n.passRules())
}

func (n names) insertPass(c *nftables.Conn, ch *nftables.Chain, rules []*nftables.Rule) error {
	if err := n.deleteTagged(c, ch, rules); err != nil {
		return err
	}
	for _, e := range n.passRules() {
		c.InsertRule(&nftables.Rule{Table: ch.Table, Chain: ch, Exprs: e, UserData: userdata.AppendString(nil, userdata.TypeComment, n.tag())})
	}
	if err := c.Flush(); err != nil {
		return fmt.Errorf("cannot let instances pass chain %s %s: %w", ch.Table.Name, ch.Name, err)
	}
	return nil
}

func (n names) deleteTagged(c *nftables.Conn, ch *nftables.Chain, rules []*nftables.Rule) error {
	for _, r := range rules {
		if tag, _ := userdata.GetString(r.UserData, userdata.TypeComment); tag != n.tag() {
			continue
		}
		if err := c.DelRule(&nftables.Rule{Table: ch.Table, Chain: ch, Handle: r.Handle}); err != nil {
			return fmt.Errorf("cannot delete rule of chain %s: %w", ch.Name, err)
		}
	}
	return nil
}

// purgeForeign takes our rules out of the tables of others.
func (n names) purgeForeign(c *nftables.Conn) error {
	chains, err := foreignChains(c)
	if err != nil {
		return err
	}
	for _, ch := range chains {
		rules, err := c.GetRules(ch.Table, ch)
		if err != nil {
			return fmt.Errorf("cannot list rules of chain %s: %w", ch.Name, err)
		}
		if err := n.deleteTagged(c, ch, rules); err != nil {
			return err
		}
	}
	if err := c.Flush(); err != nil {
		return fmt.Errorf("cannot delete inserted rules: %w", err)
	}
	return nil
}

// refusesLinks reports whether a rule of the chain, or of one that it jumps to, refuses packets for no other reason
// than the links they use. Refusals by address or port are somebody's intention and stay in force.
func refusesLinks(c *nftables.Conn, ch *nftables.Chain, seen map[string]bool) (bool, error) {
	if seen[ch.Name] {
		return false, nil
	}
	seen[ch.Name] = true
	rules, err := c.GetRules(ch.Table, ch)
	if err != nil {
		return false, fmt.Errorf("cannot list rules of chain %s: %w", ch.Name, err)
	}
	for _, r := range rules {
		verdict, target := judge(r.Exprs)
		if verdict == refuse {
			return true, nil
		}
		if verdict != jump {
			continue
		}
		next := &nftables.Chain{Name: target, Table: ch.Table}
		if bad, err := refusesLinks(c, next, seen); bad || err != nil {
			return bad, err
		}
	}
	return false, nil
}

type outcome int

const (
	pass outcome = iota
	refuse
	jump
)

// judge says what a rule does with a packet of which only the links are known.
func judge(list []expr.Any) (outcome, string) {
	conditional := slices.ContainsFunc(list, func(e expr.Any) bool {
		switch e := e.(type) {
		case *expr.Meta:
			return !slices.Contains([]expr.MetaKey{expr.MetaKeyIIFNAME, expr.MetaKeyOIFNAME, expr.MetaKeyIIF, expr.MetaKeyOIF}, e.Key)
		case *expr.Payload, *expr.Ct, *expr.Match, *expr.Limit, *expr.Connlimit, *expr.Fib, *expr.Rt, *expr.Quota:
			return true
		}
		return false
	})
	for _, e := range list {
		switch e := e.(type) {
		case *expr.Reject:
			if !conditional {
				return refuse, ""
			}
		case *expr.Target:
			if !conditional && e.Name == "REJECT" {
				return refuse, ""
			}
		case *expr.Verdict:
			switch {
			case e.Kind == expr.VerdictDrop && !conditional:
				return refuse, ""
			case e.Kind == expr.VerdictJump || e.Kind == expr.VerdictGoto:
				return jump, e.Chain
			}
		}
	}
	return pass, ""
}

// legacyProblem reports iptables' old tables, which cannot be changed through nftables.
func (n names) legacyProblem() string {
	b, err := os.ReadFile("/proc/thread-self/net/ip_tables_names")
	if err != nil || !slices.Contains(strings.Fields(string(b)), "filter") {
		return ""
	}
	l := n.hostLink()
	return fmt.Sprintf("iptables-legacy's filter table is in use; if it refuses forwarding, run: iptables-legacy -I FORWARD -i %s -j ACCEPT; iptables-legacy -I FORWARD -o %s -j ACCEPT", l, l)
}
