package linux

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/funade/funade/internal/app"
	"github.com/funade/funade/internal/vpc"
)

// revokedGrace is how long an established connection may go on after the rule that let it begin has gone: a tool that
// revokes and authorises a rule in one go cuts nobody.
const revokedGrace = 5 * time.Second

const judgementPause = 200 * time.Millisecond // at least, between two looks at one router

// past is a network that was in force until a change took something away; nil = it is not known.
type past struct {
	court *court
	until time.Time
}

// scheduleJudgement cuts, after the grace, what the rules that replaced old do not allow.
func (d *Dataplane) scheduleJudgement(r *router, old *vpc.Network) error {
	switch d.revoke {
	case Keep:
		return nil
	case Now:
		return r.cutRevoked()
	}
	r.past = append(r.past, past{&court{network: old}, time.Now()})
	if len(r.past) == 1 {
		d.judgeAfter(r, revokedGrace)
	}
	return nil
}

// judgeAfter looks once, and again while changes have their grace.
func (d *Dataplane) judgeAfter(r *router, wait time.Duration) {
	time.AfterFunc(wait, func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		if d.closed || d.routers[r.id] != r {
			return
		}
		r.past = slices.DeleteFunc(r.past, func(p past) bool { return time.Since(p.until) >= revokedGrace })
		if err := r.cutRevoked(); err != nil {
			d.log.Warn("cannot cut connections that are no longer allowed", "vpc", r.id, "error", err)
		}
		if len(r.past) > 0 {
			d.judgeAfter(r, max(judgementPause, revokedGrace-time.Since(r.past[0].until)))
		}
	})
}

// cutRevoked deletes the tracked flows that neither the network nor one of the grace's would let begin. What follows of
// them is then judged as new.
func (r *router) cutRevoked() error {
	if r.network == nil {
		return nil
	}
	f := flowFilter{&court{network: r.network}}
	for _, p := range slices.Backward(r.past) {
		if p.court.network != nil {
			f = append(f, p.court)
		}
	}
	return inConntrack(r.ns, func(h *netlink.Handle) error {
		if _, err := h.ConntrackDeleteFilters(netlink.ConntrackTable, unix.AF_INET, f); err != nil && !errors.Is(err, unix.ENOENT) {
			return fmt.Errorf("cannot drop flows: %w", err)
		}
		return nil
	})
}

// court decides by one network's rules.
type court struct {
	network *vpc.Network
	rules   *vpc.Ruleset // nil until the first question: there may be many courts and few of them asked
	// forwarders may send from any address.
	forwarders []app.InterfaceID
}

func (c *court) open() {
	c.rules = &vpc.Ruleset{Networks: map[app.VPCID]*vpc.Network{c.network.VPC: c.network}}
	for id, p := range c.network.Ports {
		if !p.CheckSource {
			c.forwarders = append(c.forwarders, id)
		}
	}
}

func (c *court) allows(p vpc.Packet) bool {
	if c.rules == nil {
		c.open()
	}
	p.VPC = c.network.VPC
	senders := c.forwarders
	if port := c.network.PortAt(p.Source); port != nil {
		senders = append([]app.InterfaceID{port.ID}, senders...)
	}
	return slices.ContainsFunc(senders, func(id app.InterfaceID) bool {
		p.From = id
		ok, _ := c.rules.Allows(p)
		return ok
	})
}

// flowFilter matches the flows that no court allows, judged by how they began: translated ones too.
type flowFilter []*court

// MatchConntrackFlow implements netlink.CustomConntrackFilter.
func (f flowFilter) MatchConntrackFlow(flow *netlink.ConntrackFlow) bool {
	t := flow.Forward
	p := vpc.Packet{Protocol: t.Protocol, SourcePort: t.SrcPort, DestinationPort: t.DstPort}
	p.Source, _ = netip.AddrFromSlice(t.SrcIP.To4())
	p.Destination, _ = netip.AddrFromSlice(t.DstIP.To4())
	if t.Protocol == unix.IPPROTO_ICMP { // only questions are tracked as flows, and nearly all are echo requests
		p.SourcePort, p.DestinationPort = 0, 8<<8
	}
	return !slices.ContainsFunc(f, func(c *court) bool { return c.allows(p) })
}
