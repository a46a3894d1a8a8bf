package sim

import (
	"fmt"
	"net/netip"
	"reflect"
	"slices"

	"github.com/funade/funade/internal/app"
	"github.com/funade/funade/internal/control/eni"
	"github.com/funade/funade/internal/control/operation"
	"github.com/funade/funade/internal/store"
)

// checks holds what must be true all the time, and what at the end.
type checks struct {
	ended map[app.OperationID]app.Operation
	goals map[app.InstanceID]app.InstanceGoal
	// served are services whose front door has had a target since they were last out of traffic.
	served map[app.ServiceID]bool
}

func newChecks() checks {
	return checks{map[app.OperationID]app.Operation{}, map[app.InstanceID]app.InstanceGoal{}, map[app.ServiceID]bool{}}
}

// always holds: ended operations stay as they are, goals only go forward, instances have what their egress needs, a service
// in traffic keeps a target.
func (c *checks) always(r *run) {
	r.server.view(func(tx *store.Tx) {
		for id, old := range c.ended {
			if now, ok := store.Operations.Get(tx, id); ok && now != old {
				panic(fmt.Sprintf("ended operation %s changed from %+v to %+v", id, old, now))
			}
		}
		for op := range store.Operations.All(tx) {
			if op.Status.Ended() {
				if _, known := c.ended[op.ID]; !known {
					r.tell("%s of revision %d ended %s: %s", op.Type, op.Revision, op.Status, op.Reason)
				}
				c.ended[op.ID] = op
			}
		}
		for i := range store.Instances.All(tx) {
			if i.Goal < c.goals[i.ID] {
				panic(fmt.Sprintf("instance %s went from goal %d back to %d", i.ID, c.goals[i.ID], i.Goal))
			}
			c.goals[i.ID] = i.Goal
		}
		checkVPC(tx)
		if r.gentle {
			c.unbroken(r, tx)
		}
	})
}

// checkVPC: every instance of a revision with a connector has one network interface, and no interface is there without its
// instance or shares its address.
func checkVPC(tx *store.Tx) {
	taken := map[netip.Addr]app.InterfaceID{}
	for n := range store.NetworkInterfaces.All(tx) {
		i, ok := store.Instances.Get(tx, app.InstanceID(n.Owner))
		link, _ := store.Interfaces.Get(tx, i.Interface)
		if n.Kind == app.InterfaceOfInstance && (!ok || !slices.Contains(link.VPC, n.ID)) {
			panic(fmt.Sprintf("network interface %s has no instance %q", n.ID, n.Owner))
		}
		for _, a := range n.Addresses {
			if taken[a] != "" {
				panic(fmt.Sprintf("network interfaces %s and %s share the address %v", taken[a], n.ID, a))
			}
			taken[a] = n.ID
		}
	}
	for i := range store.Instances.All(tx) {
		r, _ := store.Revisions.Get(tx, app.RevisionKey{Service: i.Service, Number: i.Revision})
		link, _ := store.Interfaces.Get(tx, i.Interface)
		if want := r.Config.Network.EgressType == app.EgressVPC; want != (len(link.VPC) == 1) {
			panic(fmt.Sprintf("instance %s of a revision with %+v has %v", i.ID, r.Config.Network, link.VPC))
		}
	}
}

// unbroken: from the first target on, a service in traffic has one that is healthy, through updates, deployments and
// their rollbacks. Applications that fall ill by themselves are left out.
func (c *checks) unbroken(r *run, tx *store.Tx) {
	for svc := range store.Services.All(tx) {
		rev, _ := store.Revisions.Get(tx, app.RevisionKey{Service: svc.ID, Number: svc.Routed})
		if svc.Routed == 0 || r.behaving[rev.Digest] == "fickle" {
			delete(c.served, svc.ID)
			continue
		}
		alive := slices.ContainsFunc(r.server.table[svc.ID].Targets, func(id app.InstanceID) bool {
			container := r.containers[id]
			if container == nil {
				return false
			}
			ok, _ := r.healthy(container)
			return ok
		})
		if c.served[svc.ID] && !alive {
			panic(fmt.Sprintf("service %s (%s) has no target although it is in traffic", svc.Name, svc.Status))
		}
		if alive {
			c.served[svc.ID] = true
		}
	}
}

// final lists everything that is wrong after the calm.
func (c *checks) final(r *run) (problems []string) {
	report := func(format string, args ...any) { problems = append(problems, fmt.Sprintf(format, args...)) }
	r.server.view(func(tx *store.Tx) {
		for op := range store.OperationsInFlight.Each(tx, struct{}{}) {
			report("operation %s of %s is stuck in step %q", op.ID, op.Type, op.Step)
		}
		for svc := range store.Services.All(tx) {
			checkService(r, tx, svc, report)
		}
		for id := range r.containers {
			if _, ok := store.Instances.Get(tx, id); !ok {
				report("container %s has no row", id)
			}
		}
		for id := range r.networks {
			if _, ok := store.Interfaces.Get(tx, id); !ok {
				report("network %s has no row", id)
			}
		}
		for i := range store.Interfaces.All(tx) {
			if _, ok := store.Instances.Get(tx, i.Instance); !ok {
				report("interface %s has no instance", i.ID)
			}
		}
		checkObserved(tx, report)
		last, _ := store.Events.Last(tx)
		if n := len(r.shipped); n > 0 && (r.shipped[n-1] != last.Seq || int64(n) != last.Seq) {
			report("%d events shipped up to %d, the last is %d", n, r.shipped[n-1], last.Seq)
		}
	})
	return problems
}

func checkService(r *run, tx *store.Tx, svc app.Service, report func(string, ...any)) {
	instances := slices.Collect(store.InstancesByService.Each(tx, svc.ID))
	if svc.Operation != "" || svc.PushPending {
		report("service %s (%s) remembers operation %q, push %v", svc.Name, svc.Status, svc.Operation, svc.PushPending)
	}
	if svc.Status != app.ServiceRunning {
		if len(instances) > 0 || svc.Routed != 0 {
			report("service %s is %s but has %d instances and revision %d in traffic", svc.Name, svc.Status, len(instances), svc.Routed)
		}
		if svc.Status == app.ServiceDeleted || svc.Status == app.ServiceCreateFailed {
			for q := range store.ImageRequestsByService.Each(tx, svc.ID) {
				report("service %s is %s but wants an image for revision %d", svc.Name, svc.Status, q.Revision)
			}
		}
		return
	}
	rev, ok := store.Revisions.Get(tx, app.RevisionKey{Service: svc.ID, Number: svc.Routed})
	if !ok || !reflect.DeepEqual(rev.Config, svc.Config) {
		report("service %s shows another configuration than revision %d that serves", svc.Name, svc.Routed)
	}
	if want := operation.MinSize(tx, svc.Scope, rev.Config); len(instances) != want && !(len(instances) < want && full(tx, rev)) {
		report("service %s has %d instances, want %d", svc.Name, len(instances), want)
	}
	route := r.server.table[svc.ID]
	for _, i := range instances {
		c := r.containers[i.ID]
		if c == nil || !c.running || c.digest != rev.Digest || i.Revision != svc.Routed || !slices.Contains(route.Targets, i.ID) {
			report("service %s: instance %+v (container %+v) does not serve", svc.Name, i, c)
		}
	}
	if route.Revision != svc.Routed || len(route.Targets) != len(instances) {
		report("service %s: the front door has %+v", svc.Name, route)
	}
}

// cleared lists what is left once every service has been deleted.
func (c *checks) cleared(r *run) (problems []string) {
	r.server.view(func(tx *store.Tx) {
		ours := 0
		for n := range store.NetworkInterfaces.All(tx) {
			if n.Kind == app.InterfaceOfInstance {
				ours++
			}
		}
		for name, n := range map[string]int{
			"instances": store.Instances.Len(tx), "interfaces": store.Interfaces.Len(tx), "network interfaces": ours,
			"operations in flight": len(slices.Collect(store.OperationsInFlight.Each(tx, struct{}{}))), "containers": len(r.containers), "networks": len(r.networks),
		} {
			if n > 0 {
				problems = append(problems, fmt.Sprintf("%d %s are left", n, name))
			}
		}
	})
	return problems
}

// full reports whether the subnets that the revision's instances go to have no address left.
func full(tx *store.Tx, rev app.Revision) bool {
	connector, ok := operation.Connector(tx, rev.Config)
	free := 0
	for _, subnet := range connector.Subnets {
		row, _ := store.Subnets.Get(tx, subnet)
		free += eni.Free(tx, row)
	}
	return ok && free == 0
}

// checkObserved: no observed row without its desired one.
func checkObserved(tx *store.Tx, report func(string, ...any)) {
	for s := range store.InstanceStatuses.All(tx) {
		if _, ok := store.Instances.Get(tx, s.ID); !ok {
			report("instance status %s has no instance", s.ID)
		}
	}
	for s := range store.ImageStatuses.All(tx) {
		if _, ok := store.ImageRequests.Get(tx, app.RevisionKey{Service: s.Service, Number: s.Revision}); !ok {
			report("image status %s/%d has no request", s.Service, s.Revision)
		}
	}
}
