package bench

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/funade/funade/internal/vpc"
)

// private measures what private networks cost:
//
//   - packets, through a data plane of the measurement's own with 1,000 interfaces attached: throughput of one TCP stream
//     beside the same links with one rule and beside bare ones, and connections opened and reset one after the other on
//     each processor, beside fewer rules and beside iptables. Contenders take turns and the median of the rounds' ratios
//     counts; as others may have the machine meanwhile, the processor time of the threads that took part is told too.
//   - the data plane itself: one more interface, and all rules when a process starts.
//   - calls, to a server with 1,000 interfaces and 1,000 rules in a VPC: from the call until a datagram between two hosts
//     passes or no longer passes. Only those two hosts run; the other interfaces are free ones, whose rules stand in the
//     kernel and whose links do not. For one more interface, it is until the kernel's set has it. A file is written and
//     synced before each call, as a call syncs once and disks differ.
//   - create-service with a VPC connector beside one without.
func private(t *testing.T, r *report) {
	t.Run("packets", func(t *testing.T) { packets(t, r) })
	t.Run("calls", func(t *testing.T) { changes(t, r) })
	t.Run("connector", func(t *testing.T) { connectors(t, r) })
}

const (
	manyInterfaces = 1000
	// Many short rounds tell more than a few long ones where others come and go.
	streamTime    = 80 * time.Millisecond
	streamRounds  = 101
	connectTime   = 120 * time.Millisecond
	connectRounds = 41
)

// contender is one of several pairs that are measured in turn.
type contender struct {
	name string
	pair
	efforts []effort
}

// inTurn measures every contender once a round, every other round in the opposite order.
func inTurn(list []*contender, rounds int, measure func(pair) effort) {
	for _, c := range list {
		measure(c.pair) // caches, tables
	}
	for round := range rounds {
		for k := range list {
			if round%2 == 1 {
				k = len(list) - 1 - k
			}
			list[k].efforts = append(list[k].efforts, measure(list[k].pair))
		}
	}
}

// ratio is the median of the ratios of each round, as the machine's speed changes from one to the next.
func ratio(a, b *contender, of func(effort) float64) float64 {
	var all []float64
	for n := range a.efforts {
		all = append(all, of(a.efforts[n])/of(b.efforts[n]))
	}
	return median(all)
}

func (c *contender) median(of func(effort) float64) float64 {
	var all []float64
	for _, e := range c.efforts {
		all = append(all, of(e))
	}
	return median(all)
}

// figures are the medians of contenders in a unit.
func figures(format string, unit float64, of func(effort) float64, list ...*contender) string {
	var out []string
	for _, c := range list {
		out = append(out, fmt.Sprintf("%s "+format, c.name, c.median(of)/unit))
	}
	return strings.Join(out, ", ")
}

// packets measures throughput and connections in one data plane with three VPCs, beside peers that have no data plane; and
// then what the data plane itself needs.
func packets(t *testing.T, r *report) {
	p := newPlane(t)
	thousand, many, few := p.network(1, 1000), p.network(2, 10_000), p.network(3, 10)
	ours := &contender{name: "ours", pair: p.hosts(thousand, manyInterfaces)}
	manyRules := &contender{name: "10,000 rules", pair: p.hosts(many, 2)}
	fewRules := &contender{name: "10 rules", pair: p.hosts(few, 2)}
	withNAT := p.network(4, 1000)
	p.leadOut(withNAT)
	throughput(t, r, ours, &contender{name: "ours in a VPC with a way out", pair: p.hosts(withNAT, 2)})
	connectionRates(t, r, manyRules, fewRules)
	added(t, r, p, thousand, ours.pair)
	starting(t, r, p, thousand)
}

// throughput tells of a VPC with a NAT gateway too: what may leave passes translation and the choice of a routing table.
func throughput(t *testing.T, r *report, ours, outward *contender) {
	tracked := &contender{name: "one rule", pair: trackedPair(t)}
	raw := &contender{name: "raw veth", pair: rawPair(t)}
	list := []*contender{ours, tracked, raw, outward}
	inTurn(list, streamRounds, func(p pair) effort { return stream(t, p, streamTime) })
	what := fmt.Sprintf("TCP throughput, 1,000 rules and 1,000 interfaces, to the same links with one rule, median of %d", streamRounds)
	r.atLeast(what, "%.2f x", ratio(ours, tracked, effort.perSecond), figures("%.1f Gb/s", 1e9/8, effort.perSecond, list...), 0.95)
	r.atLeast("  by processor time", "%.2f x", ratio(ours, tracked, effort.perCPUSecond), figures("%.1f Gb/s", 1e9/8, effort.perCPUSecond, list...), 0.95)
}

func connectionRates(t *testing.T, r *report, many, few *contender) {
	tracked := &contender{name: "one rule", pair: trackedPair(t)}
	list := []*contender{many, few, tracked}
	var linears []*contender
	for _, l := range linearPairs(t, 10_000) {
		linears = append(linears, &contender{name: l.name, pair: l.pair})
	}
	list = append(list, linears...)
	inTurn(list, connectRounds, func(p pair) effort { return connects(t, p, connectTime) })
	what := fmt.Sprintf("new TCP connections, 10,000 rules to 10, median of %d", connectRounds)
	r.atLeast(what, "%.2f x", ratio(many, few, effort.perSecond), figures("%.0f/s", 1, effort.perSecond, many, few, tracked), 0.90)
	r.atLeast("  by processor time", "%.2f x", ratio(many, few, effort.perCPUSecond), figures("%.0f/s", 1, effort.perCPUSecond, many, few, tracked), 0.90)
	for _, l := range linears {
		r.atLeast("  10,000 rules to 10,000 rules of "+l.name, "%.2f x", ratio(many, l, effort.perSecond), figures("%.0f/s", 1, effort.perSecond, many, l), 1.15)
		r.atLeast("    by processor time", "%.2f x", ratio(many, l, effort.perCPUSecond), figures("%.0f/s", 1, effort.perCPUSecond, many, l), 1.15)
	}
}

const (
	changeSamples = 150
	startRounds   = 7
)

// added measures one more interface beside 1,000 attached ones: rows compiled, rules programmed, links made, a packet passed.
func added(t *testing.T, r *report, p *plane, n *network, base pair) {
	t.Helper()
	var took []time.Duration
	var all []vpc.Interface
	for range changeSamples {
		began := time.Now()
		i := p.host(n, n.clients)
		p.program()
		a, err := p.Attach(t.Context(), i)
		check(t, err)
		c := newProbe(t, pair{p.namespace(a), base.to, base.address})
		took = append(took, c.opens().Sub(began))
		c.close()
		all = append(all, i)
	}
	for _, i := range all { // only now, as the kernel is busy with namespaces for a while after they have gone
		check(t, p.Detach(t.Context(), i.ID))
	}
	p.rows.Interfaces = p.rows.Interfaces[:len(p.rows.Interfaces)-len(all)]
	p.program()
	what := fmt.Sprintf("one interface added to 1,000 attached ones and more, from rows to the first packet, p99 of %d", changeSamples)
	r.add(what, "%.1f ms", milliseconds(p99(took)), fmt.Sprintf("median %.1f ms", milliseconds(median(took))), 50)
}

// starting measures the rules of a data plane that finds 1,000 interfaces attached.
func starting(t *testing.T, r *report, p *plane, n *network) {
	t.Helper()
	for id := range p.rows.Slots {
		if id != n.id { // the others leave
			delete(p.rows.Slots, id)
		}
	}
	p.program()
	var opened, full []time.Duration
	for range startRounds {
		check(t, p.Close())
		began := time.Now()
		p.open()
		opened = append(opened, time.Since(began))
		began = time.Now()
		p.compiler = vpc.NewCompiler()
		p.program()
		full = append(full, time.Since(began))
	}
	what := fmt.Sprintf("full apply at start, 1,000 rules and 1,000 interfaces, median of %d", startRounds)
	r.add(what, "%.0f ms", milliseconds(median(full)), fmt.Sprintf("finding the interfaces before: %.0f ms", milliseconds(median(opened))), 600)
}
