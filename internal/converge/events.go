package converge

import (
	"context"
	"time"

	"github.com/funade/funade/internal/app"
	"github.com/funade/funade/internal/store"
)

// shipAtOnce bounds the events of one pass.
const shipAtOnce = 1000

// EventSink takes life-cycle events into log streams.
type EventSink interface {
	// Ensure makes the group and the stream exist.
	Ensure(ctx context.Context, key app.LogStreamKey) error
	// Ship appends events and remembers seq in the same synced write; an append whose seq is not beyond the
	// remembered one changes nothing.
	Ship(ctx context.Context, key app.LogStreamKey, events []app.LogEvent, seq int64) error
}

// Events ships the rows of the event log to the log store, in order, each exactly once.
type Events struct {
	store *store.Store
	sink  EventSink
	// certain: everything behind the cursor is known not to be in the sink. After a start or an error it is not,
	// and only events that are shipped one by one cannot be repeated.
	certain bool
}

// NewEvents returns the converger; Run does its work.
func NewEvents(s *store.Store, sink EventSink) *Events { return &Events{store: s, sink: sink} }

// Run converges until ctx ends.
func (c *Events) Run(ctx context.Context) {
	Loop(ctx, "events", func() []<-chan struct{} {
		return []<-chan struct{}{c.store.Changed(store.Events.Name())}
	}, 5*time.Second, c.pass)
}

// batch is what one stream gets; seqs are the rows that its events come from.
type batch struct {
	key    app.LogStreamKey
	events []app.LogEvent
	seqs   []int64
}

func (c *Events) pass(ctx context.Context) error {
	for {
		batches, last, err := c.collect(ctx)
		if err != nil || last == 0 {
			return err
		}
		singly := !c.certain
		c.certain = false
		for _, b := range batches {
			if err := c.ship(ctx, b, singly); err != nil {
				return err
			}
		}
		err = c.store.Update(ctx, func(tx *store.Tx) error {
			store.Observed.EventCursors.Put(tx, app.EventCursor{Shipped: last})
			return nil
		})
		if err != nil {
			return err
		}
		c.certain = true
	}
}

func (c *Events) ship(ctx context.Context, b *batch, singly bool) error {
	if err := c.sink.Ensure(ctx, b.key); err != nil {
		return err
	}
	if !singly {
		return c.sink.Ship(ctx, b.key, b.events, b.seqs[len(b.seqs)-1])
	}
	for n := range b.events {
		if err := c.sink.Ship(ctx, b.key, b.events[n:n+1], b.seqs[n]); err != nil {
			return err
		}
	}
	return nil
}

// collect returns the events behind the cursor by stream, and the last of them; 0 = none.
func (c *Events) collect(ctx context.Context) (batches []*batch, last int64, err error) {
	err = c.store.View(ctx, func(tx *store.Tx) error {
		cursor, _ := store.EventCursors.Get(tx, struct{}{})
		byStream := map[app.LogStreamKey]*batch{}
		n := 0
		for e := range store.Events.All(tx) {
			if e.Seq <= cursor.Shipped {
				continue
			}
			for _, line := range lines(e) {
				b := byStream[line.key]
				if b == nil {
					b = &batch{key: line.key}
					byStream[line.key], batches = b, append(batches, b)
				}
				b.events, b.seqs = append(b.events, line.event), append(b.seqs, e.Seq)
			}
			last = e.Seq
			if n++; n == shipAtOnce {
				break
			}
		}
		return nil
	})
	return batches, last, err
}

type line struct {
	key   app.LogStreamKey
	event app.LogEvent
}

// lines returns where an event is shown and in which words (apprunner guide, service logs).
func lines(e app.Event) []line {
	svc, host := app.Service{ID: e.Service, Scope: e.Scope, Name: e.Name}, app.Host{ID: e.Host, Scope: e.Scope}
	group := svc.ServiceLogGroup("service")
	if e.Host != "" {
		group = host.LogGroup()
	}
	var out []line
	if e.Target&app.ToEvents != 0 {
		out = append(out, line{app.LogStreamKey{Group: group, Stream: "events"}, app.LogEvent{Timestamp: e.At, Message: e.Message}})
	}
	if e.Target&app.ToDeployment != 0 && e.Operation != "" {
		out = append(out, line{
			app.LogStreamKey{Group: group, Stream: "deployment/" + string(e.Operation)},
			app.LogEvent{Timestamp: e.At, Message: "[AppRunner] " + e.Message},
		})
	}
	return out
}
