package resolver

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/miekg/dns"
)

// zone is what a VPC's resolver answers by itself.
type zone struct {
	names map[string][]netip.Addr // canonical names
	// parents are names that only have names below them: they exist and have nothing.
	parents  map[string]bool
	pointers map[string][]string // reverse name -> names
}

// SetZone says which private names there are: lower case, no final dot.
func (r *Resolver) SetZone(names map[string][]netip.Addr) {
	z := &zone{names: make(map[string][]netip.Addr, len(names)), parents: map[string]bool{}, pointers: map[string][]string{}}
	for name, list := range names {
		name = dns.CanonicalName(name)
		z.names[name] = list
		for _, i := range dns.Split(name)[1:] {
			if parent := name[i:]; strings.Count(parent, ".") > 1 { // no top-level domain is ours
				z.parents[parent] = true
			}
		}
		for _, a := range list {
			if reverse, err := dns.ReverseAddr(a.String()); err == nil {
				z.pointers[reverse] = append(z.pointers[reverse], name)
			}
		}
	}
	for _, list := range z.pointers {
		slices.Sort(list)
	}
	r.zone.Store(z)
}

// answer returns nil for names that the zone does not have.
func (z *zone) answer(q *dns.Msg, name string) *dns.Msg {
	if z == nil {
		return nil
	}
	if list, ok := z.names[name]; ok {
		return addresses(q, list...)
	}
	question := q.Question[0]
	if list := z.pointers[name]; list != nil {
		m := addresses(q)
		if question.Qtype == dns.TypePTR || question.Qtype == dns.TypeANY {
			for _, target := range list {
				m.Answer = append(m.Answer, &dns.PTR{Hdr: dns.RR_Header{Name: question.Name, Rrtype: dns.TypePTR, Class: dns.ClassINET, Ttl: ttl}, Ptr: target})
			}
		}
		return m
	}
	// Names under EC2's own domains exist only here; above others somebody else may have an answer.
	if z.parents[name] && ec2Name(name) {
		return addresses(q)
	}
	return nil
}

// ec2Name reports whether a name is one of EC2's private names, or above them.
func ec2Name(name string) bool {
	return dns.IsSubDomain("compute.internal.", name) || dns.IsSubDomain("ec2.internal.", name) || strings.HasSuffix(name, ".compute.internal.")
}

// private reports whether only the VPC itself could know a name.
func (r *Resolver) private(name string) bool {
	if ec2Name(name) {
		return true
	}
	a, ok := reversed(name)
	return ok && slices.ContainsFunc(r.c.Private, func(p netip.Prefix) bool { return p.Contains(a) })
}

// reversed returns the address of a name in in-addr.arpa.
func reversed(name string) (netip.Addr, bool) {
	labels := strings.Split(strings.TrimSuffix(name, "."), ".")
	if len(labels) != 6 || labels[4] != "in-addr" || labels[5] != "arpa" {
		return netip.Addr{}, false
	}
	var b [4]byte
	for i := range b {
		n, err := strconv.ParseUint(labels[3-i], 10, 8)
		if err != nil {
			return netip.Addr{}, false
		}
		b[i] = byte(n)
	}
	return netip.AddrFrom4(b), true
}
