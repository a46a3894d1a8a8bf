package vpc_test

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/funade/funade/internal/app"
	"github.com/funade/funade/internal/vpc"
	"github.com/funade/funade/internal/vpc/vpctest"
)

// TestCompiledRulesAreTheSpecification compares the compiled rules with the rows themselves, packet by packet.
func TestCompiledRulesAreTheSpecification(t *testing.T) {
	for name, probes := range map[string]func(vpc.Snapshot, uint64, int) []vpc.Packet{"between hosts": vpctest.Probes, "any": vpctest.Wild} {
		t.Run(name, func(t *testing.T) {
			seen := map[vpc.Step]int{} // kinds of last steps
			allowed, arrived, judged := 0, 0, 0
			for seed := range uint64(80) {
				s := vpctest.World(seed)
				r := vpc.Compile(s)
				checkDisjoint(t, r)
				for _, p := range probes(s, seed, 200) {
					got, reached := compare(t, s, r, p)
					_, reason := r.Allows(p)
					seen[vpc.Step{Kind: reason.Kind, Allowed: got}]++
					if judged++; got {
						allowed++
					}
					if reached {
						arrived++
					}
				}
			}
			t.Logf("%d probes, %d arrive, %d are answered; they end at %v", judged, arrived, allowed, seen)
			if judged < 10000 || allowed < judged/15 || allowed > judged*19/20 || arrived < allowed+10 {
				t.Error("the worlds test little")
			}
			if name != "any" {
				return
			}
			for _, kind := range []vpc.StepKind{vpc.StepSource, vpc.StepResolver, vpc.StepRoute, vpc.StepEgress, vpc.StepACLOut, vpc.StepACLIn, vpc.StepIngress, vpc.StepOutside, vpc.StepAnswers} {
				if seen[vpc.Step{Kind: kind}] < 5 {
					t.Errorf("nearly nothing is refused at the step %s", kind)
				}
			}
			if seen[vpc.Step{Kind: vpc.StepOutside, Allowed: true}] < 100 {
				t.Error("nearly nothing gets out")
			}
		})
	}
}

// TestTheWayOutIsTheSpecification sends everything through NAT gateways, whose subnets have ACLs too.
func TestTheWayOutIsTheSpecification(t *testing.T) {
	seen := map[vpc.Step]int{}
	for seed := range uint64(150) {
		s, probes := vpctest.Outward(seed, at("198.51.100.10"), 60)
		r := vpc.Compile(s)
		for _, p := range probes {
			got, _ := compare(t, s, r, p)
			_, reason := r.Allows(p)
			seen[vpc.Step{Kind: reason.Kind, Allowed: got}]++
		}
	}
	t.Logf("the probes end at %v", seen)
	for _, kind := range []vpc.StepKind{vpc.StepACLOut, vpc.StepACLIn, vpc.StepAnswers} {
		if seen[vpc.Step{Kind: kind}] < 200 {
			t.Errorf("nearly nothing is refused at the step %s", kind)
		}
	}
}

// compare fails unless rules, explanation and rows agree about a packet.
func compare(t *testing.T, s vpc.Snapshot, r *vpc.Ruleset, p vpc.Packet) (allowed, arrived bool) {
	t.Helper()
	allowed, reason := r.Allows(p)
	if want := vpctest.Allows(s, p); allowed != want {
		t.Fatalf("%+v: the rules say %v (%+v), the rows %v", p, allowed, reason, want)
	}
	arrived, last := r.Arrives(p)
	if want := vpctest.Arrives(s, p); arrived != want {
		t.Fatalf("%+v alone: the rules say %v (%+v), the rows %v", p, arrived, last, want)
	}
	e := r.Explain(p)
	if e.Allowed != allowed || e.Steps[len(e.Steps)-1] != reason || strings.HasPrefix(e.String(), "allowed: ") != allowed || strings.Contains(e.String(), "%!") {
		t.Fatalf("%+v: allowed %v (%+v), explained as %+v", p, allowed, reason, e)
	}
	for _, step := range e.Steps[:len(e.Steps)-1] {
		if !step.Allowed || step.Text == "" {
			t.Fatalf("%+v: a step before the last refuses, or says nothing: %+v", p, e)
		}
	}
	return allowed, arrived
}

func checkDisjoint(t *testing.T, r *vpc.Ruleset) {
	t.Helper()
	for _, n := range r.Networks {
		for _, g := range n.Groups {
			for _, d := range []vpc.Direction{g.Ingress, g.Egress} {
				for i, a := range d.Boxes {
					for _, b := range d.Boxes[i+1:] {
						if a.Protocol == b.Protocol && a.FirstPort <= b.LastPort && b.FirstPort <= a.LastPort && !a.Last.Less(b.First) && !b.Last.Less(a.First) {
							t.Fatalf("boxes %+v and %+v of %s overlap", a, b, g.ID)
						}
					}
				}
				for i := range d.Any[:max(len(d.Any)-1, 0)] {
					if !d.Any[i].Last.Next().Less(d.Any[i+1].First) {
						t.Fatalf("ranges %+v of %s are not merged", d.Any, g.ID)
					}
				}
			}
		}
	}
}

// TestIncrementalIsFresh changes worlds a little at a time.
func TestIncrementalIsFresh(t *testing.T) {
	for seed := range uint64(40) {
		r := rand.New(rand.NewPCG(seed, 3))
		s := vpctest.World(seed)
		c := vpc.NewCompiler()
		last := c.Compile(s)
		for step := range 40 {
			if again := c.Compile(s); again != last {
				t.Fatalf("seed %d, step %d: an unchanged snapshot gave another ruleset", seed, step)
			}
			vpctest.Edit(r, &s)
			got := c.Compile(s)
			if want := vpc.Compile(s); !reflect.DeepEqual(got, want) {
				t.Fatalf("seed %d, step %d: compiled step by step it is\n%+v\nat once\n%+v", seed, step, got, want)
			}
			checkReuse(t, last, got)
			last = got
		}
		for _, p := range vpctest.Wild(s, seed, 50) {
			compare(t, s, last, p)
		}
	}
}

// checkReuse holds that what has not changed has kept its pointer.
func checkReuse(t *testing.T, before, after *vpc.Ruleset) {
	t.Helper()
	kept(t, "networks", before.Networks, after.Networks)
	for id, n := range after.Networks {
		old := before.Networks[id]
		if old == nil || old == n {
			continue
		}
		kept(t, "subnets", old.Subnets, n.Subnets)
		kept(t, "ports", old.Ports, n.Ports)
		kept(t, "groups", old.Groups, n.Groups)
		kept(t, "members", old.Members, n.Members)
		kept(t, "tables", old.Tables, n.Tables)
		kept(t, "ACLs", old.ACLs, n.ACLs)
		kept(t, "NATs", old.NATs, n.NATs)
		kept(t, "LANs", old.LANs, n.LANs)
		if old.DNS != n.DNS && reflect.DeepEqual(old.DNS, n.DNS) {
			t.Fatalf("the zone of %s is equal and has another pointer", id)
		}
	}
}

func kept[K comparable, T any](t *testing.T, what string, before, after map[K]*T) {
	t.Helper()
	for k, v := range after {
		if old := before[k]; old != nil && old != v && reflect.DeepEqual(old, v) {
			t.Fatalf("%s: %v is equal and has another pointer", what, k)
		}
	}
}

// TestOneRuleCostsItsGroup holds that all else keeps its pointers.
func TestOneRuleCostsItsGroup(t *testing.T) {
	s := vpctest.World(1)
	c := vpc.NewCompiler()
	before := c.Compile(s)
	s.Rules = slices.Clone(s.Rules)
	rule := &s.Rules[0]
	rule.Protocol, rule.FromPort, rule.ToPort, rule.CIDR, rule.Peer, rule.PrefixList = 6, 77, 77, netip.MustParsePrefix("10.0.0.0/8"), "", ""
	after := c.Compile(s)
	for id, n := range after.Networks {
		old := before.Networks[id]
		for g := range n.Groups {
			if (n.Groups[g] == old.Groups[g]) != (g != rule.Group) {
				t.Errorf("group %s: same pointer %v", g, n.Groups[g] == old.Groups[g])
			}
		}
		for p := range n.Ports {
			if n.Ports[p] != old.Ports[p] {
				t.Errorf("port %s has another pointer", p)
			}
		}
	}
}

// byteSource makes the choices of a world out of a fuzzer's bytes, and when they are used up by chance.
type byteSource struct {
	bytes []byte
	then  *rand.PCG
}

func (b *byteSource) Uint64() uint64 {
	if len(b.bytes) == 0 {
		return b.then.Uint64()
	}
	// The top bits decide small choices, so that every byte is one.
	n := uint64(b.bytes[0])<<56 | b.then.Uint64()>>8
	b.bytes = b.bytes[1:]
	return n
}

// FuzzCompile edits a world as the bytes say, compiling it after each change, and compares all with the rows.
func FuzzCompile(f *testing.F) {
	f.Add(uint64(1), []byte("rules, members and routes"))
	f.Add(uint64(7), []byte{0, 255, 17, 130, 99, 3, 200, 41, 77, 250, 8, 8, 128, 64, 32})
	f.Fuzz(func(t *testing.T, seed uint64, data []byte) {
		source := &byteSource{data[:min(len(data), 400)], rand.NewPCG(seed, 5)}
		r := rand.New(source)
		s := vpctest.World(seed)
		c := vpc.NewCompiler()
		last := c.Compile(s)
		for len(source.bytes) > 0 {
			vpctest.Edit(r, &s)
			got := c.Compile(s)
			if want := vpc.Compile(s); !reflect.DeepEqual(got, want) {
				t.Fatalf("compiled step by step it is\n%+v\nat once\n%+v", got, want)
			}
			checkReuse(t, last, got)
			last = got
		}
		checkDisjoint(t, last)
		for _, p := range append(vpctest.Wild(s, seed, 30), vpctest.Probes(s, seed, 30)...) {
			compare(t, s, last, p)
		}
	})
}

// large is one VPC with 1,000 interfaces and rules in two groups.
func large(rules int) vpc.Snapshot {
	s := vpctest.World(1)
	v := s.VPCs[0].ID
	s.Interfaces, s.Rules = nil, nil
	for i := range 1000 {
		s.Interfaces = append(s.Interfaces, app.NetworkInterface{
			ID: app.InterfaceID(fmt.Sprintf("eni-%017x", i)), VPC: v, Subnet: s.Subnets[0].ID, SourceDestCheck: true,
			Addresses: []netip.Addr{netip.AddrFrom4([4]byte{10, 1, byte(i >> 8), byte(i)})}, Groups: []app.GroupID{s.Groups[i%2].ID},
		})
	}
	for i := range rules {
		s.Rules = append(s.Rules, app.SecurityGroupRule{
			ID: app.RuleID(fmt.Sprintf("sgr-%017x", i)), Group: s.Groups[i%2].ID, Protocol: 6, FromPort: i, ToPort: i,
			CIDR: netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(i >> 8), byte(i), 0}), 24),
		})
	}
	return s
}

func BenchmarkCompileFresh(b *testing.B) {
	eachSize(b, func(b *testing.B, s vpc.Snapshot) {
		for b.Loop() {
			vpc.Compile(s)
		}
	})
}

func BenchmarkCompileUnchanged(b *testing.B) {
	eachSize(b, func(b *testing.B, s vpc.Snapshot) {
		c := vpc.NewCompiler()
		c.Compile(s)
		for b.Loop() {
			c.Compile(s)
		}
	})
}

func BenchmarkCompileOneRule(b *testing.B) {
	eachSize(b, func(b *testing.B, s vpc.Snapshot) {
		c := vpc.NewCompiler()
		c.Compile(s)
		for n := 0; b.Loop(); n++ {
			s.Rules[0].FromPort, s.Rules[0].ToPort = n%60000, n%60000
			c.Compile(s)
		}
	})
}

func BenchmarkCompileOneInterface(b *testing.B) {
	eachSize(b, func(b *testing.B, s vpc.Snapshot) {
		c := vpc.NewCompiler()
		c.Compile(s)
		for n := 0; b.Loop(); n++ {
			s.Interfaces[0].Addresses = []netip.Addr{netip.AddrFrom4([4]byte{10, 1, 250, byte(n)})}
			c.Compile(s)
		}
	})
}

func BenchmarkAllows(b *testing.B) {
	eachSize(b, func(b *testing.B, s vpc.Snapshot) {
		r := vpc.Compile(s)
		from, to := s.Interfaces[0], s.Interfaces[1]
		p := vpc.Packet{VPC: from.VPC, From: from.ID, Source: from.Addresses[0], Destination: to.Addresses[0], Protocol: 6, SourcePort: 40000, DestinationPort: 5432}
		for b.Loop() {
			r.Allows(p)
		}
	})
}

func eachSize(b *testing.B, run func(*testing.B, vpc.Snapshot)) {
	for _, rules := range []int{1000, 10000} {
		b.Run(fmt.Sprint(rules), func(b *testing.B) { run(b, large(rules)) })
	}
}
