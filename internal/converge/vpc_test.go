package converge

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/funade/funade/internal/app"
	"github.com/funade/funade/internal/store"
	"github.com/funade/funade/internal/vpc"
)

const network = app.VPCID("vpc-1")

// withVPC writes a VPC with a subnet and boots; what the start asked of the data plane is looked at.
func (w *world) withVPC() {
	w.t.Helper()
	w.update(func(tx *store.Tx) {
		store.Control.VPCs.Put(tx, app.VPC{ID: network, Scope: scope, CIDR: netip.MustParsePrefix("10.0.0.0/16"), DNSSupport: true})
		store.Control.Subnets.Put(tx, app.Subnet{ID: "subnet-1", Scope: scope, VPC: network, CIDR: netip.MustParsePrefix("10.0.1.0/24"), Zone: "us-east-1a"})
		store.Control.SecurityGroups.Put(tx, app.SecurityGroup{ID: "sg-1", Scope: scope, VPC: network})
	})
	w.boot()
}

func inside(n int) app.InterfaceID { return app.InterfaceID(fmt.Sprintf("eni-1%016x", n)) }

func (w *world) networkInterface(n int, owner string) {
	store := func(tx *store.Tx) { putInterface(tx, n, owner) }
	w.update(store)
}

func putInterface(tx *store.Tx, n int, owner string) {
	store.Control.NetworkInterfaces.Put(tx, app.NetworkInterface{
		ID: inside(n), Scope: scope, Kind: app.InterfaceOfInstance, VPC: network, Subnet: "subnet-1", Owner: owner, MAC: "02:00:00:00:00:01",
		Addresses: []netip.Addr{netip.AddrFrom4([4]byte{10, 0, 1, byte(10 + n)})}, Groups: []app.GroupID{"sg-1"},
	})
}

// connect writes the rows of an instance with an interface in the VPC, in one transaction.
func (w *world) connect(n int) (app.InstanceID, app.InterfaceID) {
	w.t.Helper()
	id, eni := app.InstanceID(fmt.Sprintf("%032x", n)), app.InterfaceID(fmt.Sprintf("eni-%017x", n))
	w.update(func(tx *store.Tx) {
		putInterface(tx, n, string(id))
		store.Control.Instances.Put(tx, app.Instance{ID: id, Service: service, Revision: 1, Interface: eni, Goal: app.GoalRun})
		store.Control.Interfaces.Put(tx, app.Interface{ID: eni, Instance: id, Scope: scope, VPC: []app.InterfaceID{inside(n)}})
	})
	w.settle()
	return id, eni
}

func (w *world) slotOf(id app.VPCID) (s app.VPCStatus, ok bool) {
	w.view(func(tx *store.Tx) { s, ok = store.VPCStatuses.Get(tx, id) })
	return s, ok
}

func wantCalls(t *testing.T, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("the data plane was asked %q, want %q", got, want)
	}
}

func TestRulesComeBeforeInterfacesAndLeaveAfterThem(t *testing.T) {
	inWorld(t, func(w *world) {
		w.withVPC()
		wantCalls(t, w.plane.took(), "apply", "list", "program")
		id, eni := w.connect(1)
		wantCalls(t, w.plane.took(), "program", "attach "+string(eni))
		if port := w.kernel.Programmed().Networks[network].Ports[inside(1)]; port == nil {
			t.Error("the port is not programmed")
		}
		asked := w.plane.asked(eni)
		if len(asked.ENIs) != 1 || asked.ENIs[0].ID != inside(1) || asked.ENIs[0].Subnet.String() != "10.0.1.0/24" || asked.ENIs[0].VPC != network ||
			fmt.Sprint(asked.ENIs[0].Resolvers) != "[10.0.0.2]" || fmt.Sprint(asked.ENIs[0].Addresses) != "[10.0.1.11]" || asked.ENIs[0].MAC == "" {
			t.Errorf("attached %+v", asked)
		}
		w.wantPhase(id, app.PhaseRunning, 0)

		w.update(func(tx *store.Tx) {
			store.Control.Instances.Delete(tx, id)
			store.Control.Interfaces.Delete(tx, eni)
			store.Control.NetworkInterfaces.Delete(tx, inside(1))
		})
		w.settle()
		wantCalls(t, w.plane.took(), "detach "+string(eni), "program")
		if port := w.kernel.Programmed().Networks[network].Ports[inside(1)]; port != nil {
			t.Error("the port is still programmed")
		}
	})
}

func TestNothingIsRepeatedWhenNothingChanged(t *testing.T) {
	inWorld(t, func(w *world) {
		w.withVPC()
		w.connect(1)
		w.plane.took()
		w.update(func(tx *store.Tx) { // not the network's business
			s, _ := store.Services.Get(tx, service)
			s.Label = "changed"
			store.Control.Services.Put(tx, s)
		})
		w.want(2, app.GoalRun) // an interface outside VPCs needs no rules
		wantCalls(t, w.plane.took(), "attach eni-00000000000000002")
		w.pass(6 * time.Second)
		wantCalls(t, w.plane.took(), "apply", "list")
		w.update(func(tx *store.Tx) {
			store.Control.SecurityGroupRules.Put(tx, app.SecurityGroupRule{ID: "sgr-1", Scope: scope, Group: "sg-1", Protocol: -1, CIDR: netip.MustParsePrefix("0.0.0.0/0")})
		})
		w.settle()
		wantCalls(t, w.plane.took(), "program")
	})
}

func TestInterfacesWithoutInstanceArePortsOnly(t *testing.T) {
	inWorld(t, func(w *world) {
		w.withVPC()
		w.plane.took()
		w.networkInterface(7, "nat-1")
		w.settle()
		wantCalls(t, w.plane.took(), "program")
		if w.kernel.Programmed().Networks[network].Ports[inside(7)] == nil {
			t.Error("the gateway's interface is no port")
		}
	})
}

func TestNoInterfaceIsAttachedWithoutItsRules(t *testing.T) {
	inWorld(t, func(w *world) {
		w.withVPC()
		w.plane.took()
		w.plane.refuse(func(verb string) error {
			if verb == "program" {
				return errors.New("the kernel said no")
			}
			return nil
		})
		id, _ := w.connect(1)
		w.want(2, app.GoalRun)
		w.pass(2 * time.Second)
		if s := w.slot(id); s.Ready || !strings.Contains(s.Error, "is not programmed") || !strings.HasSuffix(s.Error, "(the kernel said no)") {
			t.Errorf("the interface is %+v", s)
		}
		calls := w.plane.took()
		if len(w.kernel.Leaks()) != 1 || !slices.Contains(calls, "attach eni-00000000000000002") || !slices.Contains(calls, "apply") {
			t.Errorf("without rules the data plane was asked %q", calls)
		}
		w.plane.refuse(nil)
		w.pass(6 * time.Second)
		if leaks := w.kernel.Leaks(); len(leaks) != 2 {
			t.Errorf("afterwards %v is attached", leaks)
		}
		if s := w.slot(id); !s.Ready || s.Error != "" {
			t.Errorf("afterwards the interface is %+v", s)
		}
	})
}

func TestFlushedRulesAreBackInFiveSeconds(t *testing.T) {
	inWorld(t, func(w *world) {
		w.withVPC()
		w.connect(1)
		w.kernel.Reboot()
		w.pass(5 * time.Second)
		if r := w.kernel.Programmed(); r == nil || r.Networks[network].Ports[inside(1)] == nil {
			t.Errorf("after 5 s the kernel holds %+v", r)
		}
		if leaks := w.kernel.Leaks(); len(leaks) != 1 {
			t.Errorf("after 5 s %v is attached", leaks)
		}
	})
}

func TestChangedInterfaceIsAttachedAgain(t *testing.T) {
	inWorld(t, func(w *world) {
		w.withVPC()
		_, eni := w.connect(1)
		w.plane.took()
		w.update(func(tx *store.Tx) {
			n, _ := store.NetworkInterfaces.Get(tx, inside(1))
			n.Addresses = append(slices.Clone(n.Addresses), netip.MustParseAddr("10.0.1.99"))
			store.Control.NetworkInterfaces.Put(tx, n)
		})
		w.settle()
		wantCalls(t, w.plane.took(), "program", "attach "+string(eni))
		w.update(func(tx *store.Tx) {
			store.Control.DHCPOptionSets.Put(tx, app.DHCPOptions{ID: "dopt-1", Scope: scope, Values: map[string][]string{"domain-name-servers": {"10.0.1.53", "AmazonProvidedDNS"}}})
			v, _ := store.VPCs.Get(tx, network)
			v.DHCPOptions = "dopt-1"
			store.Control.VPCs.Put(tx, v)
		})
		w.settle()
		if asked := w.plane.asked(eni); fmt.Sprint(asked.ENIs[0].Resolvers, asked.ENIs[0].Addresses) != "[10.0.1.53 10.0.0.2] [10.0.1.11 10.0.1.99]" {
			t.Errorf("attached %+v", asked)
		}
		// A change that comes while the interface cannot be attached is not lost.
		w.plane.refuse(func(verb string) error {
			if verb == "attach" {
				return errors.New("busy")
			}
			return nil
		})
		w.update(func(tx *store.Tx) {
			v, _ := store.VPCs.Get(tx, network)
			v.DHCPOptions = ""
			store.Control.VPCs.Put(tx, v)
		})
		w.pass(time.Second)
		w.plane.refuse(nil)
		w.pass(6 * time.Second)
		if asked := w.plane.asked(eni); fmt.Sprint(asked.ENIs[0].Resolvers) != "[10.0.0.2]" {
			t.Errorf("attached %+v", asked)
		}
	})
}

func TestVPCsHaveSlotsOfTheirOwn(t *testing.T) {
	inWorld(t, func(w *world) {
		w.withVPC()
		w.update(func(tx *store.Tx) {
			for n := 2; n <= 3; n++ {
				store.Control.VPCs.Put(tx, app.VPC{ID: app.VPCID(fmt.Sprintf("vpc-%d", n)), Scope: scope, CIDR: netip.MustParsePrefix("10.0.0.0/16")})
			}
		})
		w.settle()
		for n := range 3 {
			if s, ok := w.slotOf(app.VPCID(fmt.Sprintf("vpc-%d", n+1))); !ok || s.Slot != n {
				t.Errorf("vpc-%d has %+v", n+1, s)
			}
		}
		w.update(func(tx *store.Tx) { store.Control.VPCs.Delete(tx, "vpc-2") })
		w.settle()
		if s, ok := w.slotOf("vpc-2"); ok {
			t.Errorf("a VPC that is gone has %+v", s)
		}
		if got := slices.Sorted(maps.Keys(w.kernel.Programmed().Networks)); !slices.Equal(got, []app.VPCID{"vpc-1", "vpc-3"}) {
			t.Errorf("the kernel holds %v", got)
		}
		w.update(func(tx *store.Tx) {
			store.Control.VPCs.Put(tx, app.VPC{ID: "vpc-4", Scope: scope, CIDR: netip.MustParsePrefix("10.0.0.0/16")})
		})
		w.settle()
		if s, _ := w.slotOf("vpc-4"); s.Slot != 1 {
			t.Errorf("the freed slot went elsewhere: %+v", s)
		}
		w.boot()
		if s, _ := w.slotOf("vpc-3"); s.Slot != 2 {
			t.Errorf("after a restart: %+v", s)
		}
	})
}

func TestVPCsBeyondTheLimitWait(t *testing.T) {
	s := openStore(t)
	update := func(fn func(tx *store.Tx)) {
		t.Helper()
		if err := s.Update(t.Context(), func(tx *store.Tx) error { fn(tx); return nil }); err != nil {
			t.Fatal(err)
		}
	}
	update(func(tx *store.Tx) {
		for n := range vpcSlots + 1 {
			store.Control.VPCs.Put(tx, app.VPC{ID: app.VPCID(fmt.Sprintf("vpc-%05d", n)), Scope: scope})
		}
		allocateVPCs(tx)
		last, _ := store.VPCStatuses.Get(tx, "vpc-04096")
		if last.Slot != noSlot || last.Error == "" {
			t.Errorf("one too many has %+v", last)
		}
		store.Observed.VPCStatuses.Delete(tx, "vpc-00007")
		store.Control.VPCs.Delete(tx, "vpc-00007")
		allocateVPCs(tx)
		if last, _ := store.VPCStatuses.Get(tx, "vpc-04096"); last.Slot != 7 || last.Error != "" {
			t.Errorf("with a slot free it has %+v", last)
		}
	})
}

func TestSnapshotNamesHostsAndEndpoints(t *testing.T) {
	s := openStore(t)
	err := s.Update(t.Context(), func(tx *store.Tx) error {
		store.Control.VPCs.Put(tx, app.VPC{ID: network, Scope: scope, CIDR: netip.MustParsePrefix("10.0.0.0/16"), DNSSupport: true})
		store.Control.VPCs.Put(tx, app.VPC{ID: "vpc-mute", Scope: scope, CIDR: netip.MustParsePrefix("10.0.0.0/16")})
		putInterface(tx, 1, "i-1")
		putInterface(tx, 2, "vpce-1")
		putInterface(tx, 3, "")
		store.Control.Endpoints.Put(tx, app.Endpoint{ID: "vpce-1", Scope: scope, VPC: network, Type: "Interface", ServiceName: "com.amazonaws.us-east-1.ecr.api", Interfaces: []app.InterfaceID{inside(2)}})
		store.Control.Endpoints.Put(tx, app.Endpoint{ID: "vpce-2", Scope: scope, VPC: network, Type: "Gateway", ServiceName: "com.amazonaws.us-east-1.s3"})
		store.Observed.VPCStatuses.Put(tx, app.VPCStatus{ID: network, Slot: 3})
		store.Observed.VPCStatuses.Put(tx, app.VPCStatus{ID: "vpc-mute", Slot: noSlot})
		got := snapshot(tx)
		want := map[string][]netip.Addr{
			"ip-10-0-1-11.ec2.internal":                   {netip.MustParseAddr("10.0.1.11")},
			"ip-10-0-1-11.us-east-1.compute.internal":     {netip.MustParseAddr("10.0.1.11")},
			"vpce-1.api.ecr.us-east-1.vpce.amazonaws.com": {netip.MustParseAddr("10.0.1.12")},
		}
		if fmt.Sprint(got.Names[network]) != fmt.Sprint(want) || got.Names["vpc-mute"] != nil {
			t.Errorf("names %v", got.Names)
		}
		if len(got.VPCs) != 2 || len(got.Interfaces) != 3 || len(got.Slots) != 1 || got.Slots[network] != 3 {
			t.Errorf("snapshot %+v", got)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestChurn lets interfaces come and go among changing rules, faults and restarts, and looks at what is left.
func TestChurn(t *testing.T) {
	for seed := range uint64(8) {
		inWorld(t, func(w *world) { w.churn(rand.New(rand.NewPCG(seed, 7))) })
	}
}

func (w *world) churn(rnd *rand.Rand) {
	w.withVPC()
	live := map[int]app.InterfaceID{}
	remove := func(n int) {
		w.update(func(tx *store.Tx) {
			i, _ := store.Interfaces.Get(tx, live[n])
			store.Control.Instances.Delete(tx, i.Instance)
			store.Control.Interfaces.Delete(tx, i.ID)
			store.Control.NetworkInterfaces.Delete(tx, inside(n))
		})
		delete(live, n)
	}
	for step := range 150 {
		switch n := rnd.IntN(8); rnd.IntN(6) {
		case 0, 1:
			if live[n] == "" && len(live) < 4 {
				_, live[n] = w.connect(n)
			}
		case 2:
			if live[n] != "" {
				remove(n)
			}
		case 3:
			w.update(func(tx *store.Tx) {
				id := app.RuleID(fmt.Sprintf("sgr-%d", n))
				store.Control.SecurityGroupRules.Put(tx, app.SecurityGroupRule{ID: id, Scope: scope, Group: "sg-1", Protocol: 6, FromPort: step, ToPort: step})
			})
		case 4:
			chance := rnd.IntN(3)
			var mu sync.Mutex // the plane asks from several goroutines
			dice := rand.New(rand.NewPCG(rnd.Uint64(), 1))
			w.plane.refuse(func(string) error {
				mu.Lock()
				defer mu.Unlock()
				if dice.IntN(3) < chance {
					return errors.New("not now")
				}
				return nil
			})
		case 5:
			if rnd.IntN(4) == 0 {
				w.kernel.Reboot()
				w.boot()
			}
		}
		w.pass(time.Duration(rnd.IntN(700)) * time.Millisecond)
		for _, id := range w.kernel.Leaks() {
			if early := w.plane.early[id]; early {
				w.t.Fatalf("step %d: %s was attached before its rules", step, id)
			}
		}
	}
	w.plane.refuse(nil)
	w.pass(time.Minute)
	ids := slices.Collect(maps.Values(live))
	if leaks := w.kernel.Leaks(ids...); len(leaks) > 0 {
		w.t.Errorf("%v are left in the kernel", leaks)
	}
	ports := w.kernel.Programmed().Networks[network].Ports
	if len(ports) != len(live) {
		w.t.Errorf("%d ports are programmed for %d interfaces", len(ports), len(live))
	}
	w.view(func(tx *store.Tx) {
		if store.InterfaceStatuses.Len(tx) != len(live) {
			w.t.Errorf("%d statuses for %d interfaces", store.InterfaceStatuses.Len(tx), len(live))
		}
		for n, id := range live {
			if s, _ := store.InterfaceStatuses.Get(tx, id); !s.Ready || ports[inside(n)] == nil {
				w.t.Errorf("interface %s is %+v, its port %+v", id, s, ports[inside(n)])
			}
		}
	})
}

// mute is a data plane that does nothing.
type mute struct{ vpc.Dataplane }

func (mute) Program(context.Context, *vpc.Ruleset) error { return nil }

// BenchmarkPass is a pass after one rule has changed, at 1,000 attached interfaces; the data plane does nothing.
func BenchmarkPass(b *testing.B) {
	for _, rules := range []int{1000, 10_000} {
		b.Run(strconv.Itoa(rules), func(b *testing.B) { benchmarkPass(b, rules) })
	}
}

func benchmarkPass(b *testing.B, rules int) {
	s, err := store.Open(b.TempDir()+"/funade.db", store.Options{NoSync: true})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	c := NewNetwork(s, mute{}, vpc.InstallRules{}, 4096, func(app.AccountID) uint32 { return 0 }, NewPoke())
	rule := func(tx *store.Tx, n, port int) {
		store.Control.SecurityGroupRules.Put(tx, app.SecurityGroupRule{
			ID: app.RuleID(fmt.Sprintf("sgr-%017x", n)), Scope: scope, Group: app.GroupID(fmt.Sprintf("sg-%d", n/50)), Protocol: 6,
			FromPort: port, ToPort: port, CIDR: netip.MustParsePrefix("10.0.0.0/8"),
		})
	}
	err = s.Update(b.Context(), func(tx *store.Tx) error {
		store.Control.VPCs.Put(tx, app.VPC{ID: network, Scope: scope, CIDR: netip.MustParsePrefix("10.0.0.0/16"), DNSSupport: true})
		store.Control.Subnets.Put(tx, app.Subnet{ID: "subnet-1", Scope: scope, VPC: network, CIDR: netip.MustParsePrefix("10.0.0.0/20")})
		store.Observed.VPCStatuses.Put(tx, app.VPCStatus{ID: network})
		for n := range rules / 50 {
			store.Control.SecurityGroups.Put(tx, app.SecurityGroup{ID: app.GroupID(fmt.Sprintf("sg-%d", n)), Scope: scope, VPC: network})
		}
		for n := range 1000 {
			store.Control.NetworkInterfaces.Put(tx, app.NetworkInterface{
				ID: inside(n), Scope: scope, VPC: network, Subnet: "subnet-1", Owner: fmt.Sprintf("i-%017x", n),
				Addresses: []netip.Addr{netip.AddrFrom4([4]byte{10, 0, byte(n >> 8), byte(n)})}, Groups: []app.GroupID{app.GroupID(fmt.Sprintf("sg-%d", n%20))},
			})
			i := app.Interface{ID: app.InterfaceID(fmt.Sprintf("eni-%017x", n)), Scope: scope, VPC: []app.InterfaceID{inside(n)}}
			store.Control.Interfaces.Put(tx, i)
			store.Observed.InterfaceStatuses.Put(tx, app.InterfaceStatus{ID: i.ID, Index: n, Ready: true})
			asked, _ := desired(tx, i, n, 0)
			c.attachments[i.ID] = &attached{asked: asked}
		}
		for n := range rules {
			rule(tx, n, n)
		}
		return nil
	})
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for n := 0; b.Loop(); n++ {
		if err := s.Update(b.Context(), func(tx *store.Tx) error { rule(tx, 7, n%1000); return nil }); err != nil {
			b.Fatal(err)
		}
		c.wake()
		if err := c.pass(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
	if len(c.ruleset.Networks[network].Ports) != 1000 || c.stale {
		b.Fatalf("programmed %d ports, stale %v", len(c.ruleset.Networks[network].Ports), c.stale)
	}
}
