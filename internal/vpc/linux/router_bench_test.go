package linux

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/funade/funade/internal/app"
	"github.com/funade/funade/internal/vpc"
)

// bigPlan has 1,000 interfaces and a group of 1,000 rules.
func bigPlan() *plan {
	p := newPlan(1)
	p.n.Subnets = map[app.SubnetID]*vpc.Subnet{subnetA: {ID: subnetA, CIDR: p.n.Blocks[0], Table: tableA, ACL: openACL}}
	p.group('c', icmpFrom('c'), everything())
	p.group('h', boxes(1000), everything())
	for n := range 1000 {
		g := byte('c')
		if n%2 == 1 {
			g = 'h'
		}
		p.port(n, netip.AddrFrom4([4]byte{192, 168, byte(n / 250), byte(4 + n%250)}).String(), g)
	}
	return p
}

func boxes(n int) (d vpc.Direction) {
	for i := range n {
		a := netip.AddrFrom4([4]byte{10, byte(i / 250), byte(i % 250), 0})
		d.Boxes = append(d.Boxes, vpc.Box{Range: vpc.Range{First: a, Last: lastOf(netip.PrefixFrom(a, 24))}, Protocol: unix.IPPROTO_TCP, FirstPort: uint16(1000 + i), LastPort: uint16(1000 + i)})
	}
	return d
}

// TestProgramIsFast holds the bars at 1,000 rules and 1,000 interfaces: everything at once, one rule, one interface.
func TestProgramIsFast(t *testing.T) {
	d := openPlane(t, freshConfig(t))
	p := bigPlan()
	start := time.Now()
	program(t, d, p)
	full := time.Since(start)
	var rule, port []time.Duration
	for n := range 40 {
		p.change()
		p.group('h', boxes(1000-n%2), everything())
		rule = append(rule, timed(func() { program(t, d, p) }))
		p.change()
		p.port(2000+n, fmt.Sprintf("192.168.9.%d", 60+n), 'c')
		port = append(port, timed(func() { program(t, d, p) }))
	}
	slices.Sort(rule)
	slices.Sort(port)
	t.Logf("full %v; one rule %v to %v; one interface %v to %v", full, rule[0], rule[39], port[0], port[39])
	if full > 3*600*time.Millisecond || rule[38] > 150*time.Millisecond || port[38] > 150*time.Millisecond { // thrice the bars, for busy machines
		t.Errorf("too slow: full %v, one rule %v, one interface %v", full, rule[38], port[38])
	}
	idle := timed(func() {
		if err := d.Apply(t.Context(), vpc.InstallRules{}); err != nil {
			t.Error(err)
		}
	})
	t.Logf("Apply without change %v", idle)
}

func timed(f func()) time.Duration {
	start := time.Now()
	f()
	return time.Since(start)
}

func BenchmarkAttachInVPC(b *testing.B) {
	d := openPlane(b, freshConfig(b))
	p := simple(1)
	i := p.port(1, "192.168.1.50", 'c')
	program(b, d, p)
	for b.Loop() {
		attach(b, d, i)
		b.StopTimer()
		if err := d.Detach(b.Context(), i.ID); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
}
