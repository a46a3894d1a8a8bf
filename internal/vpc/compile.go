package vpc

import (
	"net/netip"
	"reflect"
	"slices"
	"strings"

	"github.com/funade/funade/internal/app"
)

// Compiler turns snapshots into rulesets and remembers the last one, so that what did not change keeps its pointers.
// It is not safe for concurrent use.
type Compiler struct {
	last   *Ruleset
	inputs map[app.GroupID]groupInput
}

// groupInput is everything that a group's compiled form depends on.
type groupInput struct {
	rules []app.SecurityGroupRule
	lists map[app.PrefixListID][]app.PrefixEntry
}

// NewCompiler returns a compiler that remembers nothing.
func NewCompiler() *Compiler {
	return &Compiler{last: &Ruleset{}, inputs: map[app.GroupID]groupInput{}}
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
	subnets    []app.Subnet
	tables     []app.RouteTable
	gateways   []app.InternetGateway
	nats       []app.NATGateway
	acls       []app.NetworkACL
	groups     []app.SecurityGroup
	interfaces []app.NetworkInterface
	lans       []app.LAN
	logs       []app.FlowLog
	// rules by group, lists by id and public interfaces are of the whole snapshot.
	rules  map[app.GroupID][]app.SecurityGroupRule
	lists  map[app.PrefixListID][]app.PrefixEntry
	public map[app.InterfaceID]bool
}

func split(s Snapshot) map[app.VPCID]*world {
	rules := make(map[app.GroupID][]app.SecurityGroupRule, len(s.Groups))
	for _, r := range s.Rules {
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
	distribute(out, s.Subnets, func(r *app.Subnet) app.VPCID { return r.VPC }, func(w *world) *[]app.Subnet { return &w.subnets })
	distribute(out, s.RouteTables, func(r *app.RouteTable) app.VPCID { return r.VPC }, func(w *world) *[]app.RouteTable { return &w.tables })
	distribute(out, s.Gateways, func(r *app.InternetGateway) app.VPCID { return r.VPC }, func(w *world) *[]app.InternetGateway { return &w.gateways })
	distribute(out, s.NATs, func(r *app.NATGateway) app.VPCID { return r.VPC }, func(w *world) *[]app.NATGateway { return &w.nats })
	distribute(out, s.ACLs, func(r *app.NetworkACL) app.VPCID { return r.VPC }, func(w *world) *[]app.NetworkACL { return &w.acls })
	distribute(out, s.Groups, func(r *app.SecurityGroup) app.VPCID { return r.VPC }, func(w *world) *[]app.SecurityGroup { return &w.groups })
	distribute(out, s.Interfaces, func(r *app.NetworkInterface) app.VPCID { return r.VPC }, func(w *world) *[]app.NetworkInterface { return &w.interfaces })
	distribute(out, s.LANs, func(r *app.LAN) app.VPCID { return r.VPC }, func(w *world) *[]app.LAN { return &w.lans })
	splitLogs(out, s.FlowLogs)
	return out
}

func distribute[T any](out map[app.VPCID]*world, rows []T, of func(*T) app.VPCID, to func(*world) *[]T) {
	for i := range rows {
		if w := out[of(&rows[i])]; w != nil {
			list := to(w)
			*list = append(*list, rows[i])
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
	for _, l := range logs {
		if w := of[l.Resource]; w != nil {
			w.logs = append(w.logs, l)
		}
	}
}

func (c *Compiler) network(w *world, old *Network, inputs map[app.GroupID]groupInput) *Network {
	if old == nil {
		old = &Network{}
	}
	n := &Network{VPC: w.vpc.ID, Slot: w.slot, Blocks: w.vpc.Blocks()}
	if w.vpc.DNSSupport {
		n.DNS = reuse(old.DNS, &Zone{Names: w.names})
	}
	n.Tables = each(w.tables, func(t *app.RouteTable) app.RouteTableID { return t.ID }, old.Tables, w.table)
	n.ACLs = each(w.acls, func(a *app.NetworkACL) app.NetworkACLID { return a.ID }, old.ACLs, compileACL)
	n.Subnets = w.compileSubnets(old.Subnets)
	n.Ports = each(w.interfaces, func(i *app.NetworkInterface) app.InterfaceID { return i.ID }, old.Ports, w.port)
	n.NATs = w.compileNATs(n, old.NATs)
	n.LANs = each(w.lans, func(l *app.LAN) app.LANID { return l.ID }, old.LANs, func(l *app.LAN) *LAN {
		return &LAN{ID: l.ID, Interface: l.Interface, Via: l.Via, CIDRs: l.CIDRs}
	})
	n.FlowLogs = each(w.logs, func(l *app.FlowLog) app.FlowLogID { return l.ID }, old.FlowLogs, func(l *app.FlowLog) *app.FlowLog { return l })
	n.Groups = make(map[app.GroupID]*Group, len(w.groups))
	for i := range w.groups {
		id := w.groups[i].ID
		in := w.groupInput(id)
		inputs[id] = in
		if was, ok := c.inputs[id]; ok && old.Groups[id] != nil && in.equal(was) {
			n.Groups[id] = old.Groups[id]
			continue
		}
		n.Groups[id] = reuse(old.Groups[id], compileGroup(id, in))
	}
	n.Members = members(n, old.Members)
	return n
}

// each compiles rows and keeps the pointers of those that come out the same.
func each[K comparable, R, T any](rows []R, key func(*R) K, old map[K]*T, compile func(*R) *T) map[K]*T {
	out := make(map[K]*T, len(rows))
	for i := range rows {
		k := key(&rows[i])
		out[k] = reuse(old[k], compile(&rows[i]))
	}
	return out
}

func reuse[T any](old, made *T) *T {
	if old != nil && reflect.DeepEqual(old, made) {
		return old
	}
	return made
}

func sameNetwork(a, b *Network) bool {
	return a.Slot == b.Slot && a.DNS == b.DNS && slices.Equal(a.Blocks, b.Blocks) && samePointers(a.Subnets, b.Subnets) && samePointers(a.Ports, b.Ports) &&
		samePointers(a.Groups, b.Groups) && samePointers(a.Members, b.Members) && samePointers(a.Tables, b.Tables) &&
		samePointers(a.ACLs, b.ACLs) && samePointers(a.NATs, b.NATs) && samePointers(a.LANs, b.LANs) && samePointers(a.FlowLogs, b.FlowLogs)
}

func samePointers[K comparable, T any](a, b map[K]*T) bool {
	if len(a) != len(b) {
		return false
	}
	for k, v := range a {
		if b[k] != v {
			return false
		}
	}
	return true
}

func (w *world) port(i *app.NetworkInterface) *Port {
	return &Port{
		ID: i.ID, Kind: i.Kind, Addresses: i.Addresses, Subnet: i.Subnet, Groups: i.Groups, CheckSource: i.SourceDestCheck,
		Public: w.public[i.ID] || w.launchedPublic(i),
	}
}

// launchedPublic reports whether a private host got a public address because its subnet gives them out.
func (w *world) launchedPublic(i *app.NetworkInterface) bool {
	return i.Kind == app.InterfaceOfUser && strings.HasPrefix(i.Owner, "i-") &&
		slices.ContainsFunc(w.subnets, func(s app.Subnet) bool { return s.ID == i.Subnet && s.MapPublicIP })
}

func (w *world) compileSubnets(old map[app.SubnetID]*Subnet) map[app.SubnetID]*Subnet {
	var main app.RouteTableID
	tables, acls := map[app.SubnetID]app.RouteTableID{}, map[app.SubnetID]app.NetworkACLID{}
	for i := range w.tables {
		for _, a := range w.tables[i].Associations {
			if a.Main {
				main = w.tables[i].ID
			} else {
				tables[a.Subnet] = w.tables[i].ID
			}
		}
	}
	for i := range w.acls {
		for _, a := range w.acls[i].Associations {
			acls[a.Subnet] = w.acls[i].ID
		}
	}
	return each(w.subnets, func(s *app.Subnet) app.SubnetID { return s.ID }, old, func(s *app.Subnet) *Subnet {
		table, ok := tables[s.ID]
		if !ok {
			table = main
		}
		return &Subnet{ID: s.ID, CIDR: s.CIDR, Table: table, ACL: acls[s.ID]}
	})
}

// members lists the addresses that carry each group which a rule of the VPC names as peer.
func members(n *Network, old map[app.GroupID]*Members) map[app.GroupID]*Members {
	named := map[app.GroupID]*Members{}
	for _, g := range n.Groups {
		for _, d := range []Direction{g.Ingress, g.Egress} {
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
		named[id] = reuse(old[id], m)
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
