package logs

import (
	"slices"
	"time"
)

// Event is a stored log event.
type Event struct {
	// ID is 56 digits, unique in its group, stable, and sorts in the group's order.
	ID        string
	Stream    string
	Timestamp time.Time
	// Ingested is when the store took it.
	Ingested time.Time
	Message  string
}

// page collects the first events of an order (the last ones with desc) within bounds of number and
// size. The order of adding does not matter: what is beyond bound never comes in, so the page is
// always a prefix of the matching events.
type page struct {
	desc     bool
	limit    int
	maxBytes int
	heap     []entry // the entry farthest from the start is at the root
	bytes    int
	// full: something was left out; bound is the nearest of that.
	full  bool
	bound position
}

type entry struct {
	at       position
	ingested int64
	stream   string
	message  string
}

func newPage(desc bool, limit int) *page {
	if limit <= 0 || limit > MaxPageEvents {
		limit = MaxPageEvents
	}
	return &page{desc: desc, limit: limit, maxBytes: MaxPageBytes}
}

// farther reports whether a comes after b in the page's direction.
func (p *page) farther(a, b position) bool {
	if p.desc {
		return a.less(b)
	}
	return b.less(a)
}

// wants reports whether an event at that place can come in.
func (p *page) wants(at position) bool { return !p.full || p.farther(p.bound, at) }

// done reports whether nothing from ts on (in the page's direction) can come in.
func (p *page) done(ts int64) bool {
	if !p.full {
		return false
	}
	if p.desc {
		return ts < p.bound.ts
	}
	return ts > p.bound.ts
}

// add takes an event that the page wants.
func (p *page) add(e entry) {
	p.bytes += len(e.message) + EventOverhead
	p.heap = append(p.heap, e)
	for i := len(p.heap) - 1; i > 0; {
		up := (i - 1) / 2
		if !p.farther(p.heap[i].at, p.heap[up].at) {
			break
		}
		p.heap[i], p.heap[up] = p.heap[up], p.heap[i]
		i = up
	}
	for len(p.heap) > p.limit || p.bytes > p.maxBytes && len(p.heap) > 1 {
		p.evict()
	}
}

// evict drops the farthest event.
func (p *page) evict() {
	top := p.heap[0]
	p.bytes -= len(top.message) + EventOverhead
	p.full, p.bound = true, top.at
	n := len(p.heap) - 1
	p.heap[0] = p.heap[n]
	p.heap[n] = entry{}
	p.heap = p.heap[:n]
	for i := 0; ; {
		far := i
		for child := 2*i + 1; child <= 2*i+2 && child < n; child++ {
			if p.farther(p.heap[child].at, p.heap[far].at) {
				far = child
			}
		}
		if far == i {
			return
		}
		p.heap[i], p.heap[far] = p.heap[far], p.heap[i]
		i = far
	}
}

// cut drops everything from the place at on.
func (p *page) cut(at position) {
	for len(p.heap) > 0 && !p.farther(at, p.heap[0].at) {
		p.evict()
	}
}

// entries returns the page in ascending order.
func (p *page) entries() []entry {
	slices.SortFunc(p.heap, func(a, b entry) int {
		if a.at.less(b.at) {
			return -1
		}
		return 1
	})
	return p.heap
}

func toEvents(entries []entry) []Event {
	events := make([]Event, len(entries))
	for i, e := range entries {
		events[i] = Event{ID: e.at.id(), Stream: e.stream, Timestamp: time.UnixMilli(e.at.ts).UTC(),
			Ingested: time.UnixMilli(e.ingested).UTC(), Message: e.message}
	}
	return events
}
