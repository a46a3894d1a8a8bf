// Package flowlog makes the records of VPC flow logs: a recorder sums up what passed and what was refused, and a watcher
// feeds it from a router's connection tracking and from the packets that its rules log.
package flowlog

import (
	"cmp"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/funade/funade/internal/app"
	"github.com/funade/funade/internal/vpc"
)

// DefaultFormat is version 2 of the record format (VPC guide, "Flow log records").
const DefaultFormat = "${version} ${account-id} ${interface-id} ${srcaddr} ${dstaddr} ${srcport} ${dstport} ${protocol} ${packets} ${bytes} ${start} ${end} ${action} ${log-status}"

// maxTallies bounds the records of one flow log in one window; what is more is counted and told as SKIPDATA.
const maxTallies = 10_000

// Sink takes a finished record. It must not block for long; stream is the interface's id and the traffic type.
type Sink func(log app.FlowLog, stream string, at time.Time, record string)

// Tuple is a flow in one direction. Ports are 0 for protocols without.
type Tuple struct {
	Source, Destination         netip.Addr
	SourcePort, DestinationPort uint16
	Protocol                    uint8
}

// reverse is the direction of the answers.
func (t Tuple) reverse() Tuple {
	return Tuple{t.Destination, t.Source, t.DestinationPort, t.SourcePort, t.Protocol}
}

// Count is traffic of one direction.
type Count struct{ Packets, Bytes uint64 }

// Stage is where a packet was refused.
type Stage int

// The stages.
const (
	Egress Stage = iota + 1 // at the sender's interface
	Ingress
)

type tallyKey struct {
	port   app.InterfaceID
	tuple  Tuple
	accept bool
}

type tally struct {
	Count
	first, last time.Time
}

// window is what one flow log has collected since its last records.
type window struct {
	since   time.Time
	tallies map[tallyKey]*tally
	skipped map[app.InterfaceID]bool
}

// Recorder sums up traffic for the flow logs of one VPC. It is safe for concurrent use.
type Recorder struct {
	sink Sink

	mu      sync.Mutex
	network *vpc.Network
	ports   map[netip.Addr]*vpc.Port
	windows map[app.FlowLogID]*window
}

// NewRecorder returns a recorder without flow logs.
func NewRecorder(sink Sink) *Recorder {
	return &Recorder{sink: sink, windows: map[app.FlowLogID]*window{}}
}

// SetNetwork says which flow logs there are and whose addresses are whose.
func (r *Recorder) SetNetwork(now time.Time, n *vpc.Network) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if n == r.network {
		return
	}
	r.network = n
	r.ports = make(map[netip.Addr]*vpc.Port, len(n.Ports))
	for _, p := range n.Ports {
		for _, a := range p.Addresses {
			r.ports[a] = p
		}
	}
	maps.DeleteFunc(r.windows, func(id app.FlowLogID, _ *window) bool { return n.FlowLogs[id] == nil })
	for id := range n.FlowLogs {
		if r.windows[id] == nil {
			r.windows[id] = newWindow(now)
		}
	}
}

func newWindow(now time.Time) *window {
	return &window{since: now, tallies: map[tallyKey]*tally{}, skipped: map[app.InterfaceID]bool{}}
}

// Accepted adds what a flow carried since it was last added, in both directions.
func (r *Recorder) Accepted(now time.Time, t Tuple, forth, back Count) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, end := range []netip.Addr{t.Source, t.Destination} {
		if p := r.ports[end]; p != nil {
			r.add(now, p, t, true, forth)
			r.add(now, p, t.reverse(), true, back)
		}
	}
}

// Refused adds one packet that the rules dropped. What the receiver's interface refuses, the sender's has let out.
func (r *Recorder) Refused(now time.Time, t Tuple, bytes int, at Stage) {
	r.mu.Lock()
	defer r.mu.Unlock()
	one := Count{1, uint64(bytes)}
	sender, receiver := r.ports[t.Source], r.ports[t.Destination]
	if sender != nil {
		r.add(now, sender, t, at == Ingress, one)
	}
	if receiver != nil && at == Ingress {
		r.add(now, receiver, t, false, one)
	}
}

func (r *Recorder) add(now time.Time, p *vpc.Port, t Tuple, accept bool, c Count) {
	if c.Packets == 0 {
		return
	}
	for id, log := range r.network.FlowLogs {
		if !covers(log, r.network, p) || log.Traffic == "ACCEPT" && !accept || log.Traffic == "REJECT" && accept {
			continue
		}
		w := r.windows[id]
		key := tallyKey{p.ID, t, accept}
		sum := w.tallies[key]
		if sum == nil {
			if len(w.tallies) >= maxTallies {
				w.skipped[p.ID] = true
				continue
			}
			sum = &tally{first: now}
			w.tallies[key] = sum
		}
		sum.Packets += c.Packets
		sum.Bytes += c.Bytes
		sum.last = now
	}
}

// covers reports whether a flow log records an interface.
func covers(log *app.FlowLog, n *vpc.Network, p *vpc.Port) bool {
	return log.Resource == string(n.VPC) || log.Resource == string(p.Subnet) || log.Resource == string(p.ID)
}

// windowOf is how long a flow log collects: a sixth of the interval that the user allows at most.
func windowOf(log *app.FlowLog) time.Duration {
	return time.Duration(cmp.Or(log.Interval, 600)) * time.Second / 6
}

// Flush hands the records of every window that is over to the sink, those of interfaces without traffic (NODATA) too.
func (r *Recorder) Flush(now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.network == nil {
		return
	}
	for _, id := range slices.Sorted(maps.Keys(r.network.FlowLogs)) {
		log, w := r.network.FlowLogs[id], r.windows[id]
		if now.Sub(w.since) < windowOf(log) {
			continue
		}
		r.windows[id] = newWindow(now)
		r.emit(now, log, w)
	}
}

// Due reports whether a window is over, so that counters should be read.
func (r *Recorder) Due(now time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	for id, w := range r.windows {
		if now.Sub(w.since) >= windowOf(r.network.FlowLogs[id]) {
			return true
		}
	}
	return false
}

func (r *Recorder) emit(now time.Time, log *app.FlowLog, w *window) {
	keys := slices.SortedFunc(maps.Keys(w.tallies), func(a, b tallyKey) int {
		return cmp.Or(cmp.Compare(a.port, b.port), w.tallies[a].first.Compare(w.tallies[b].first),
			a.tuple.Source.Compare(b.tuple.Source), a.tuple.Destination.Compare(b.tuple.Destination),
			cmp.Compare(a.tuple.SourcePort, b.tuple.SourcePort), cmp.Compare(a.tuple.DestinationPort, b.tuple.DestinationPort))
	})
	seen := map[app.InterfaceID]bool{}
	for _, k := range keys {
		seen[k.port] = true
		t := w.tallies[k]
		r.write(log, k.port, now, fields{
			tuple: k.tuple, count: t.Count, start: t.first, end: t.last, action: action(k.accept), status: "OK",
		})
	}
	for _, id := range slices.Sorted(maps.Keys(r.network.Ports)) {
		if !covers(log, r.network, r.network.Ports[id]) {
			continue
		}
		switch {
		case w.skipped[id]:
			r.write(log, id, now, fields{start: w.since, end: now, status: "SKIPDATA"})
		case !seen[id]:
			r.write(log, id, now, fields{start: w.since, end: now, status: "NODATA"})
		}
	}
}

func action(accept bool) string {
	if accept {
		return "ACCEPT"
	}
	return "REJECT"
}

// fields are one record; a zero tuple is a record without data, whose fields are dashes.
type fields struct {
	tuple          Tuple
	count          Count
	start, end     time.Time
	action, status string
}

func (r *Recorder) write(log *app.FlowLog, port app.InterfaceID, now time.Time, f fields) {
	values := map[string]string{
		"version": "2", "account-id": string(log.Scope.Account), "interface-id": string(port),
		"start": strconv.FormatInt(f.start.Unix(), 10), "end": strconv.FormatInt(f.end.Unix(), 10), "log-status": f.status,
	}
	if f.tuple.Source.IsValid() {
		values["srcaddr"], values["dstaddr"] = f.tuple.Source.String(), f.tuple.Destination.String()
		values["srcport"], values["dstport"] = fmt.Sprint(f.tuple.SourcePort), fmt.Sprint(f.tuple.DestinationPort)
		values["protocol"], values["action"] = fmt.Sprint(f.tuple.Protocol), f.action
		values["packets"], values["bytes"] = fmt.Sprint(f.count.Packets), fmt.Sprint(f.count.Bytes)
	}
	r.sink(*log, string(port)+"-"+strings.ToLower(log.Traffic), now, format(cmp.Or(log.Format, DefaultFormat), values))
}

// format fills in a record format, whose fields are ${name}; what is unknown is a dash.
func format(text string, values map[string]string) string {
	names := strings.Fields(text)
	for n, field := range names {
		name := strings.TrimSuffix(strings.TrimPrefix(field, "${"), "}")
		names[n] = cmp.Or(values[name], "-")
	}
	return strings.Join(names, " ")
}
