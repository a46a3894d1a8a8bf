package vpc_test

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"reflect"
	"slices"
	"testing"

	"github.com/funade/funade/internal/app"
	"github.com/funade/funade/internal/vpc"
	"github.com/funade/funade/internal/vpc/vpctest"
)

// TestCompiledRulesAreTheSpecification compares the compiled rules with the rows themselves, packet by packet.
func TestCompiledRulesAreTheSpecification(t *testing.T) {
	allowed, probes := 0, 0
	for seed := range uint64(60) {
		s := vpctest.World(seed)
		r := vpc.Compile(s)
		checkDisjoint(t, r)
		for _, p := range vpctest.Probes(s, seed, 200) {
			want := vpctest.Allows(s, p)
			got, reason := r.Allows(p)
			if got != want {
				t.Fatalf("world %d: %+v: the rules say %v (%+v), the rows %v", seed, p, got, reason, want)
			}
			if got {
				allowed++
			}
			probes++
		}
	}
	if allowed < probes/20 || allowed > probes*19/20 {
		t.Errorf("%d of %d probes are allowed: the worlds test little", allowed, probes)
	}
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
	for seed := range uint64(20) {
		r := rand.New(rand.NewPCG(seed, 3))
		s := vpctest.World(seed)
		c := vpc.NewCompiler()
		last := c.Compile(s)
		if again := c.Compile(s); again != last {
			t.Fatal("an unchanged snapshot gave another ruleset")
		}
		for range 20 {
			change(r, &s)
			got := c.Compile(s)
			if want := vpc.Compile(s); !reflect.DeepEqual(got, want) {
				t.Fatalf("seed %d: compiled step by step it is\n%+v\nat once\n%+v", seed, got, want)
			}
		}
	}
}

func change(r *rand.Rand, s *vpc.Snapshot) {
	switch r.IntN(5) {
	case 0:
		s.Rules = slices.Delete(slices.Clone(s.Rules), 0, min(1, len(s.Rules)-1))
	case 1:
		s.Interfaces = slices.Delete(slices.Clone(s.Interfaces), 0, min(1, len(s.Interfaces)-1))
	case 2:
		s.Rules = slices.Clone(s.Rules)
		rule := &s.Rules[r.IntN(len(s.Rules))]
		rule.Protocol, rule.FromPort, rule.ToPort = 6, 7, 9
	case 3:
		s.PrefixLists = slices.Clone(s.PrefixLists)
		s.PrefixLists[0].Entries = append(slices.Clone(s.PrefixLists[0].Entries), app.PrefixEntry{CIDR: netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 9, byte(r.IntN(250)), 0}), 24)})
	case 4:
		s.ACLs = slices.Clone(s.ACLs)
		s.ACLs[0].Entries = s.ACLs[0].Entries[min(1, len(s.ACLs[0].Entries)):]
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

func FuzzCompile(f *testing.F) {
	f.Add(uint64(1), uint64(2))
	f.Fuzz(func(t *testing.T, world, probes uint64) {
		s := vpctest.World(world)
		r := vpc.Compile(s)
		for _, p := range vpctest.Probes(s, probes, 50) {
			if got, reason := r.Allows(p); got != vpctest.Allows(s, p) {
				t.Fatalf("%+v: the rules say %v: %+v", p, got, reason)
			}
		}
	})
}

// large is one VPC with 1,000 interfaces and rules in ten groups.
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

func BenchmarkCompile(b *testing.B) {
	for _, rules := range []int{1000, 10000} {
		s := large(rules)
		b.Run(fmt.Sprintf("fresh-%d", rules), func(b *testing.B) {
			for b.Loop() {
				vpc.Compile(s)
			}
		})
		b.Run(fmt.Sprintf("unchanged-%d", rules), func(b *testing.B) {
			c := vpc.NewCompiler()
			c.Compile(s)
			for b.Loop() {
				c.Compile(s)
			}
		})
		b.Run(fmt.Sprintf("one-rule-%d", rules), func(b *testing.B) {
			c := vpc.NewCompiler()
			c.Compile(s)
			n := 0
			for b.Loop() {
				n++
				s.Rules[0].FromPort, s.Rules[0].ToPort = n%60000, n%60000
				c.Compile(s)
			}
		})
	}
}
