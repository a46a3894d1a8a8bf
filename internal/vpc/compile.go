package vpc

import (
	"maps"
	"net/netip"
	"reflect"
	"slices"

	"github.com/funade/funade/internal/app"
)

// Compiler turns snapshots into rulesets and remembers the last one, so that what did not change keeps its pointers.
// It is not safe for concurrent use.
type Compiler struct {
	last   *Ruleset
	inputs map[app.GroupID]groupInput
}

// NewCompiler returns a compiler that remembers nothing.
func NewCompiler() *Compiler {
	return &Compiler{last: &Ruleset{Networks: map[app.VPCID]*Network{}}, inputs: map[app.GroupID]groupInput{}}
}

// Compile compiles a snapshot from nothing.
func Compile(s Snapshot) *Ruleset { return NewCompiler().Compile(s) }

// Compile returns the ruleset of a snapshot. VPCs without a slot are left out.
func (c *Compiler) Compile(s Snapshot) *Ruleset {
	parts := split(s)
	out := &Ruleset{Networks: make(map[app.VPCID]*Network, len(parts))}
	inputs := make(map[app.GroupID]groupInput, len(s.Groups))
	changed := len(parts) != len(c.last.Networks)
	for id, w := range parts {
		old := c.last.Networks[id]
		n := c.network(w, old, inputs)
		if old != nil && sameNetwork(old, n) {
			n = old
		}
		changed = changed || n != old
		out.Networks[id] = n
	}
	c.inputs = inputs
	if changed {
		c.last = out
	}
	return c.last
}

// world is the part of a snapshot that belongs to one VPC.
type world struct {
	vpc        app.VPC
	slot       int
	names      map[string][]netip.Addr
	subnets    []*app.Subnet
	tables     []*app.RouteTable
	gateways   []*app.InternetGateway
	nats       []*app.NATGateway
	acls       []*app.NetworkACL
	groups     []*app.SecurityGroup
	interfaces []*app.NetworkInterface
	lans       []*app.LAN
	logs       []*app.FlowLog
	// rules by group, lists by id and public interfaces are of the whole snapshot.
	rules  map[app.GroupID][]*app.SecurityGroupRule
	lists  map[app.PrefixListID][]app.PrefixEntry
	public map[app.InterfaceID]bool
}

func split(s Snapshot) map[app.VPCID]*world {
	rules := make(map[app.GroupID][]*app.SecurityGroupRule, len(s.Groups))
	for i := range s.Rules {
		r := &s.Rules[i]
		rules[r.Group] = append(rules[r.Group], r)
	}
	lists := make(map[app.PrefixListID][]app.PrefixEntry, len(s.PrefixLists))
	for _, l := range s.PrefixLists {
		lists[l.ID] = l.Entries
	}
	public := map[app.InterfaceID]bool{}
	for _, e := range s.ElasticIPs {
		if e.Interface != "" {
			public[e.Interface] = true
		}
	}
	out := map[app.VPCID]*world{}
	for _, v := range s.VPCs {
		if slot, ok := s.Slots[v.ID]; ok && slot >= 0 {
			out[v.ID] = &world{vpc: v, slot: slot, names: s.Names[v.ID], rules: rules, lists: lists, public: public}
		}
	}
	distribute(out, s.Subnets, func(r *app.Subnet) app.VPCID { return r.VPC }, func(w *world) *[]*app.Subnet { return &w.subnets })
	distribute(out, s.RouteTables, func(r *app.RouteTable) app.VPCID { return r.VPC }, func(w *world) *[]*app.RouteTable { return &w.tables })
	distribute(out, s.Gateways, func(r *app.InternetGateway) app.VPCID { return r.VPC }, func(w *world) *[]*app.InternetGateway { return &w.gateways })
	distribute(out, s.NATs, func(r *app.NATGateway) app.VPCID { return r.VPC }, func(w *world) *[]*app.NATGateway { return &w.nats })
	distribute(out, s.ACLs, func(r *app.NetworkACL) app.VPCID { return r.VPC }, func(w *world) *[]*app.NetworkACL { return &w.acls })
	distribute(out, s.Groups, func(r *app.SecurityGroup) app.VPCID { return r.VPC }, func(w *world) *[]*app.SecurityGroup { return &w.groups })
	distribute(out, s.Interfaces, func(r *app.NetworkInterface) app.VPCID { return r.VPC }, func(w *world) *[]*app.NetworkInterface { return &w.interfaces })
	distribute(out, s.LANs, func(r *app.LAN) app.VPCID { return r.VPC }, func(w *world) *[]*app.LAN { return &w.lans })
	splitLogs(out, s.FlowLogs)
	return out
}

func distribute[T any](out map[app.VPCID]*world, rows []T, of func(*T) app.VPCID, to func(*world) *[]*T) {
	for i := range rows {
		if w := out[of(&rows[i])]; w != nil {
			list := to(w)
			*list = append(*list, &rows[i])
		}
	}
}

// splitLogs gives each flow log to the VPC that its resource is in.
func splitLogs(out map[app.VPCID]*world, logs []app.FlowLog) {
	if len(logs) == 0 {
		return
	}
	of := map[string]*world{}
	for id, w := range out {
		of[string(id)] = w
		for _, s := range w.subnets {
			of[string(s.ID)] = w
		}
		for _, i := range w.interfaces {
			of[string(i.ID)] = w
		}
	}
	for i := range logs {
		if w := of[logs[i].Resource]; w != nil {
			w.logs = append(w.logs, &logs[i])
		}
	}
}

func (c *Compiler) network(w *world, old *Network, inputs map[app.GroupID]groupInput) *Network {
	if old == nil {
		old = &Network{}
	}
	n := &Network{VPC: w.vpc.ID, Slot: w.slot, Blocks: w.vpc.Blocks()}
	if w.vpc.DNSSupport {
		n.DNS = reuse(old.DNS, &Zone{Names: w.names}, sameZone)
	}
	n.Tables = each(w.tables, func(t *app.RouteTable) app.RouteTableID { return t.ID }, old.Tables, w.table, deepEqual)
	n.ACLs = each(w.acls, func(a *app.NetworkACL) app.NetworkACLID { return a.ID }, old.ACLs, compileACL, deepEqual)
	n.Subnets = w.compileSubnets(old.Subnets)
	n.Ports = each(w.interfaces, func(i *app.NetworkInterface) app.InterfaceID { return i.ID }, old.Ports, w.port, samePort)
	n.NATs = w.compileNATs(n, old.NATs)
	n.LANs = each(w.lans, func(l *app.LAN) app.LANID { return l.ID }, old.LANs, func(l *app.LAN) *LAN {
		return &LAN{ID: l.ID, Interface: l.Interface, Via: l.Via, CIDRs: l.CIDRs}
	}, deepEqual)
	n.FlowLogs = each(w.logs, func(l *app.FlowLog) app.FlowLogID { return l.ID }, old.FlowLogs, func(l *app.FlowLog) *app.FlowLog { return new(*l) }, deepEqual)
	n.Groups = make(map[app.GroupID]*Group, len(w.groups))
	for _, g := range w.groups {
		was, known := c.inputs[g.ID]
		rows := w.sortedRules(g.ID)
		if known && old.Groups[g.ID] != nil && was.isOf(rows, w.lists) {
			n.Groups[g.ID], inputs[g.ID] = old.Groups[g.ID], was
			continue
		}
		in := newGroupInput(rows, w.lists)
		n.Groups[g.ID], inputs[g.ID] = compileGroup(g.ID, in), in
	}
	if n.at = old.at; n.at == nil || !samePointers(n.Ports, old.Ports) {
		n.at = addresses(n.Ports)
	}
	n.Members = members(n, old)
	return n
}

// each compiles rows and keeps the pointers of those that come out the same.
func each[K comparable, R, T any](rows []*R, key func(*R) K, old map[K]*T, compile func(*R) *T, same func(a, b *T) bool) map[K]*T {
	out := make(map[K]*T, len(rows))
	for _, r := range rows {
		k := key(r)
		out[k] = reuse(old[k], compile(r), same)
	}
	return out
}

func reuse[T any](old, made *T, same func(a, b *T) bool) *T {
	if old != nil && same(old, made) {
		return old
	}
	return made
}

// deepEqual is for what there are few of.
func deepEqual[T any](a, b *T) bool { return reflect.DeepEqual(a, b) }

func samePort(a, b *Port) bool {
	return a.ID == b.ID && a.Kind == b.Kind && a.Subnet == b.Subnet && a.CheckSource == b.CheckSource && a.Public == b.Public &&
		slices.Equal(a.Addresses, b.Addresses) && slices.Equal(a.Groups, b.Groups)
}

func sameZone(a, b *Zone) bool { return maps.EqualFunc(a.Names, b.Names, slices.Equal[[]netip.Addr]) }

func sameMembers(a, b *Members) bool { return slices.Equal(a.Addresses, b.Addresses) }

func sameNetwork(a, b *Network) bool {
	return a.Slot == b.Slot && a.DNS == b.DNS && slices.Equal(a.Blocks, b.Blocks) && samePointers(a.Subnets, b.Subnets) && samePointers(a.Ports, b.Ports) &&
		samePointers(a.Groups, b.Groups) && samePointers(a.Members, b.Members) && samePointers(a.Tables, b.Tables) &&
		samePointers(a.ACLs, b.ACLs) && samePointers(a.NATs, b.NATs) && samePointers(a.LANs, b.LANs) && samePointers(a.FlowLogs, b.FlowLogs)
}

func samePointers[K comparable, T any](a, b map[K]*T) bool {
	return maps.EqualFunc(a, b, func(x, y *T) bool { return x == y })
}

func (w *world) port(i *app.NetworkInterface) *Port {
	return &Port{
		ID: i.ID, Kind: i.Kind, Addresses: i.Addresses, Subnet: i.Subnet, Groups: i.Groups, CheckSource: i.SourceDestCheck,
		Public: w.public[i.ID],
	}
}

// addresses finds ports by what they own.
func addresses(ports map[app.InterfaceID]*Port) map[netip.Addr]*Port {
	out := make(map[netip.Addr]*Port, len(ports))
	for _, p := range ports {
		for _, a := range p.Addresses {
			out[a] = p
		}
	}
	return out
}

func (w *world) compileSubnets(old map[app.SubnetID]*Subnet) map[app.SubnetID]*Subnet {
	var main app.RouteTableID
	tables, acls := map[app.SubnetID]app.RouteTableID{}, map[app.SubnetID]app.NetworkACLID{}
	for _, t := range w.tables {
		for _, a := range t.Associations {
			if a.Main {
				main = t.ID
			} else {
				tables[a.Subnet] = t.ID
			}
		}
	}
	for _, acl := range w.acls {
		for _, a := range acl.Associations {
			acls[a.Subnet] = acl.ID
		}
	}
	return each(w.subnets, func(s *app.Subnet) app.SubnetID { return s.ID }, old, func(s *app.Subnet) *Subnet {
		table, ok := tables[s.ID]
		if !ok {
			table = main
		}
		return &Subnet{ID: s.ID, CIDR: s.CIDR, Table: table, ACL: acls[s.ID]}
	}, func(a, b *Subnet) bool { return *a == *b })
}

// members lists the addresses that carry each group which a rule of the VPC names as peer.
func members(n, old *Network) map[app.GroupID]*Members {
	if len(old.Groups) > 0 && samePointers(n.Groups, old.Groups) && samePointers(n.Ports, old.Ports) {
		return old.Members
	}
	named := map[app.GroupID]*Members{}
	for _, g := range n.Groups {
		for _, d := range []*Direction{&g.Ingress, &g.Egress} {
			for _, p := range d.Peers {
				named[p.Group] = &Members{}
			}
		}
	}
	for _, p := range n.Ports {
		for _, g := range p.Groups {
			if m := named[g]; m != nil {
				m.Addresses = append(m.Addresses, p.Addresses...)
			}
		}
	}
	for id, m := range named {
		slices.SortFunc(m.Addresses, netip.Addr.Compare)
		named[id] = reuse(old.Members[id], m, sameMembers)
	}
	return named
}

func compileACL(a *app.NetworkACL) *ACL {
	out := &ACL{ID: a.ID}
	for _, e := range a.Entries {
		switch {
		case !e.CIDR.IsValid() || !e.CIDR.Addr().Is4():
		case e.Egress:
			out.Egress = append(out.Egress, e)
		default:
			out.Ingress = append(out.Ingress, e)
		}
	}
	byNumber := func(a, b app.ACLEntry) int { return a.Number - b.Number }
	slices.SortStableFunc(out.Ingress, byNumber)
	slices.SortStableFunc(out.Egress, byNumber)
	out.Open = allowsAll(out.Ingress) && allowsAll(out.Egress)
	return out
}

// allowsAll reports whether the first entry decides, and allows everything.
func allowsAll(entries []app.ACLEntry) bool {
	return len(entries) > 0 && entries[0].Allow && entries[0].Protocol == app.AllProtocols && entries[0].CIDR.Bits() == 0
}
