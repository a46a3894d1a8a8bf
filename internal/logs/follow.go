package logs

import (
	"context"
	"io"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/funade/funade/internal/app"
)

// FollowInput selects the events of a live tail; the fields are FilterInput's.
type FollowInput struct {
	Group   app.LogGroupKey
	Streams []string
	Prefix  string
	Pattern *Pattern
}

// Subscription yields matching events as they are stored. It must be closed.
type Subscription struct {
	subs    *subscribers
	dir     string
	stream  func(string) bool
	pattern *Pattern
	ch      chan []Event
	ended   chan struct{}
	once    sync.Once
	missed  atomic.Int64
}

const (
	// followQueue bounds the appends that wait for a subscriber, followBytes one of them.
	followQueue = 64
	followBytes = MaxPageBytes
)

type subscribers struct {
	mu     sync.Mutex
	n      atomic.Int64
	byDir  map[string][]*Subscription
	closed bool
}

// Follow subscribes to events stored from now on. A subscriber that does not keep up misses events
// and is told how many.
func (s *Store) Follow(in FollowInput) *Subscription {
	sub := &Subscription{subs: &s.subs, dir: groupDir(in.Group), stream: selectStreams(in.Streams, in.Prefix), pattern: in.Pattern,
		ch: make(chan []Event, followQueue), ended: make(chan struct{})}
	s.subs.mu.Lock()
	defer s.subs.mu.Unlock()
	if s.subs.closed {
		close(sub.ended)
		sub.once.Do(func() {})
		return sub
	}
	if s.subs.byDir == nil {
		s.subs.byDir = map[string][]*Subscription{}
	}
	s.subs.byDir[sub.dir] = append(s.subs.byDir[sub.dir], sub)
	s.subs.n.Add(1)
	return sub
}

// Next returns the next events in the order of storing and how many were missed before them. It
// ends with ctx's error, or io.EOF once the subscription or the store is closed.
func (s *Subscription) Next(ctx context.Context) (events []Event, missed int64, err error) {
	select {
	case events = <-s.ch:
		return events, s.missed.Swap(0), nil
	default:
	}
	select {
	case events = <-s.ch:
		return events, s.missed.Swap(0), nil
	case <-s.ended:
		return nil, s.missed.Swap(0), io.EOF
	case <-ctx.Done():
		return nil, 0, ctx.Err()
	}
}

// Close ends the subscription; it may be called more than once.
func (s *Subscription) Close() {
	s.subs.mu.Lock()
	defer s.subs.mu.Unlock()
	s.once.Do(func() {
		close(s.ended)
		s.subs.n.Add(-1)
		rest := slices.DeleteFunc(s.subs.byDir[s.dir], func(x *Subscription) bool { return x == s })
		if len(rest) == 0 {
			delete(s.subs.byDir, s.dir)
		} else {
			s.subs.byDir[s.dir] = rest
		}
	})
}

// publish offers a stored append to the subscribers; it never waits.
func (s *subscribers) publish(o *op) {
	if s.n.Load() == 0 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, sub := range s.byDir[o.dir] {
		if sub.stream(o.key.Stream) {
			sub.offer(o)
		}
	}
}

func (s *Subscription) offer(o *op) {
	var events []Event
	size := 0
	send := func() {
		if len(events) == 0 {
			return
		}
		select {
		case s.ch <- events:
		default:
			s.missed.Add(int64(len(events)))
		}
		events, size = nil, 0
	}
	for i := range o.parts {
		er := eventReader{r: reader{b: o.parts[i].data}}
		for index, ts, msg, ok := er.next(); ok; index, ts, msg, ok = er.next() {
			if s.pattern != nil && !s.pattern.MatchBytes(msg) {
				continue
			}
			at := position{ts: ts, lsn: o.lsn, idx: index}
			events = append(events, Event{ID: at.id(), Stream: o.key.Stream, Timestamp: time.UnixMilli(ts).UTC(),
				Ingested: time.UnixMilli(o.ingested).UTC(), Message: string(msg)})
			if size += len(msg) + EventOverhead; size > followBytes {
				send()
			}
		}
	}
	send()
}

func (s *subscribers) close() {
	s.mu.Lock()
	var all []*Subscription
	for _, subs := range s.byDir {
		all = append(all, subs...)
	}
	s.closed = true
	s.mu.Unlock()
	for _, sub := range all {
		sub.Close()
	}
}
