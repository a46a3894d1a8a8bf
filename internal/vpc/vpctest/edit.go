package vpctest

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"time"

	"github.com/funade/funade/internal/app"
	"github.com/funade/funade/internal/vpc"
)

// Edit changes one thing of a world, as calls of the API would. Rows that it was given stay as they are.
func Edit(r *rand.Rand, s *vpc.Snapshot) {
	w := &world{Rand: r, s: *s, count: map[string]int{}}
	edits := []func(){
		w.editRule, w.editRule, w.addRule, w.removeRule, w.editGroups, w.editInterface, w.removeInterface, w.editList, w.editACL,
		w.editRoute, w.editGateway, w.editSubnet, w.editVPC, w.editPublic,
	}
	edits[w.IntN(len(edits))]()
	*s = w.s
}

// fresh is an id that the world does not have.
func (w *world) fresh(prefix string) string { return fmt.Sprintf("%s-f%016x", prefix, w.Uint64()) }

// pick gives one row of a list to change; the list is another one afterwards.
func pick[T any](w *world, list *[]T, change func(*T)) {
	if len(*list) > 0 {
		*list = slices.Clone(*list)
		change(&(*list)[w.IntN(len(*list))])
	}
}

func drop[T any](w *world, list *[]T) {
	if len(*list) > 1 {
		n := w.IntN(len(*list))
		*list = slices.Delete(slices.Clone(*list), n, n+1)
	}
}

func (w *world) groupsOf(v app.VPCID) (out []app.GroupID) {
	for _, g := range w.s.Groups {
		if g.VPC == v {
			out = append(out, g.ID)
		}
	}
	return out
}

// someRule is a rule of a group that may name every group of its VPC and any list.
func (w *world) someRule(g app.SecurityGroup) app.SecurityGroupRule {
	r := w.rule(g.ID, w.groupsOf(g.VPC), w.s.PrefixLists[w.IntN(len(w.s.PrefixLists))].ID)
	r.ID = app.RuleID(w.fresh("sgr"))
	return r
}

func (w *world) editRule() {
	pick(w, &w.s.Rules, func(r *app.SecurityGroupRule) {
		if w.IntN(4) == 0 {
			r.Description = fmt.Sprint(w.IntN(100))
			return
		}
		id := r.ID
		*r = w.someRule(*find(w.s.Groups, func(g app.SecurityGroup) bool { return g.ID == r.Group }))
		r.ID = id
	})
}

func (w *world) addRule() {
	w.s.Rules = append(slices.Clone(w.s.Rules), w.someRule(w.s.Groups[w.IntN(len(w.s.Groups))]))
	w.Shuffle(len(w.s.Rules), func(i, k int) { w.s.Rules[i], w.s.Rules[k] = w.s.Rules[k], w.s.Rules[i] })
}

func (w *world) removeRule() { drop(w, &w.s.Rules) }

// editGroups lets an interface join and leave groups.
func (w *world) editGroups() {
	pick(w, &w.s.Interfaces, func(i *app.NetworkInterface) {
		groups := w.groupsOf(i.VPC)
		i.Groups = nil
		for _, n := range w.Perm(len(groups))[:1+w.IntN(len(groups))] {
			i.Groups = append(i.Groups, groups[n])
		}
	})
}

func (w *world) editInterface() {
	pick(w, &w.s.Interfaces, func(i *app.NetworkInterface) {
		b := i.Addresses[0].As4()
		b[3] = byte(100 + w.IntN(50))
		switch a := netip.AddrFrom4(b); {
		case w.IntN(2) == 0:
			i.SourceDestCheck = !i.SourceDestCheck
		case portOf(w.s, i.VPC, a) == nil:
			i.Addresses = append(slices.Clone(i.Addresses), a)
		}
	})
}

func (w *world) removeInterface() { drop(w, &w.s.Interfaces) }

func (w *world) editList() {
	pick(w, &w.s.PrefixLists, func(l *app.PrefixList) {
		l.Version++
		if l.Entries = slices.Clone(l.Entries); len(l.Entries) > 0 && w.IntN(3) == 0 {
			l.Entries = l.Entries[1:]
			return
		}
		l.Entries = append(l.Entries, app.PrefixEntry{CIDR: w.prefix(), Description: fmt.Sprint(w.IntN(3))})
	})
}

func (w *world) editACL() {
	pick(w, &w.s.ACLs, func(a *app.NetworkACL) {
		a.Entries = slices.Clone(a.Entries)
		if len(a.Entries) > 0 && w.IntN(2) == 0 {
			a.Entries = slices.Delete(a.Entries, 0, 1)
			return
		}
		e := app.ACLEntry{Number: 1, Egress: w.IntN(2) == 0, Allow: w.IntN(2) == 0, CIDR: w.prefix()}
		e.Protocol, e.FromPort, e.ToPort = w.traffic()
		if !slices.ContainsFunc(a.Entries, func(x app.ACLEntry) bool { return x.Number == e.Number && x.Egress == e.Egress }) {
			a.Entries = append([]app.ACLEntry{e}, a.Entries...)
		}
	})
}

func (w *world) editRoute() {
	pick(w, &w.s.RouteTables, func(t *app.RouteTable) {
		t.Routes = slices.Clone(t.Routes)
		if len(t.Routes) > 1 && w.IntN(2) == 0 {
			t.Routes = slices.Delete(t.Routes, 1, 2)
			return
		}
		nat, lan, host := w.s.NATs[w.IntN(len(w.s.NATs))], w.s.LANs[w.IntN(len(w.s.LANs))], w.s.Interfaces[w.IntN(len(w.s.Interfaces))]
		r := []app.Route{{Kind: app.TargetNAT, Target: string(nat.ID)}, {Kind: app.TargetLAN, Target: string(lan.ID)}, {Kind: app.TargetInterface, Target: string(host.ID)}}[w.IntN(3)]
		r.CIDR = w.prefix()
		if !slices.ContainsFunc(t.Routes, func(x app.Route) bool { return x.CIDR == r.CIDR }) {
			t.Routes = append(t.Routes, r)
		}
	})
}

func (w *world) editGateway() {
	if w.IntN(2) == 0 {
		pick(w, &w.s.NATs, func(n *app.NATGateway) {
			if n.Public = !n.Public; w.IntN(4) == 0 {
				n.DeletedAt = time.Unix(2, 0).UTC()
			}
		})
		return
	}
	pick(w, &w.s.Gateways, func(g *app.InternetGateway) {
		if g.VPC != "" {
			g.VPC = ""
			return
		}
		g.VPC = w.s.VPCs[w.IntN(len(w.s.VPCs))].ID
	})
}

func (w *world) editSubnet() {
	pick(w, &w.s.Subnets, func(s *app.Subnet) { s.MapPublicIP = !s.MapPublicIP })
}

// editVPC turns the resolver on and off, or changes, takes or gives back a VPC's slot.
func (w *world) editVPC() {
	pick(w, &w.s.VPCs, func(v *app.VPC) {
		if w.IntN(2) == 0 {
			v.DNSSupport = !v.DNSSupport
			w.s.Names = map[app.VPCID]map[string][]netip.Addr{v.ID: {fmt.Sprint("h", w.IntN(3)): {v.CIDR.Addr()}}}
			return
		}
		slots := map[app.VPCID]int{}
		for id, slot := range w.s.Slots {
			if id != v.ID || w.IntN(3) == 0 {
				slots[id] = slot
			}
		}
		if _, kept := slots[v.ID]; kept {
			slots[v.ID] = 100 + w.IntN(100)
		}
		if _, had := w.s.Slots[v.ID]; !had {
			slots[v.ID] = w.IntN(100)
		}
		w.s.Slots = slots
	})
}

func (w *world) editPublic() {
	pick(w, &w.s.ElasticIPs, func(e *app.ElasticIP) {
		e.Interface = ""
		if w.IntN(2) == 0 {
			e.Interface = w.s.Interfaces[w.IntN(len(w.s.Interfaces))].ID
		}
	})
}
