package logs

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/funade/funade/internal/app"
	"github.com/funade/funade/internal/base/failpoint"
)

// model is what a store must hold: per stream its events in the order of storing, and the cursors.
type model struct {
	events  map[app.LogStreamKey][]app.LogEvent
	cursors map[app.LogStreamKey]int64
	serial  int
}

// history drives a store and its model through the same random changes.
type history struct {
	t     *testing.T
	rnd   *rand.Rand
	dir   string
	store *Store
	model model
}

func (h *history) key() app.LogStreamKey {
	return streamKey(fmt.Sprintf("g%d", h.rnd.IntN(3)), fmt.Sprintf("s%d", h.rnd.IntN(3)))
}

func (h *history) events() []app.LogEvent {
	n := 1 + h.rnd.IntN(20)
	events := make([]app.LogEvent, n)
	for i := range events {
		h.model.serial++
		pad := ""
		if h.rnd.IntN(20) == 0 {
			pad = strings.Repeat("x", h.rnd.IntN(100<<10))
		}
		ts := base.Add(time.Duration(h.rnd.IntN(3))*24*time.Hour + time.Duration(h.rnd.IntN(50))*time.Millisecond)
		events[i] = app.LogEvent{Timestamp: ts, Message: fmt.Sprintf("event %d %s", h.model.serial, pad)}
	}
	return events
}

// step makes one change.
func (h *history) step() {
	key := h.key()
	ctx := h.t.Context()
	var err error
	switch n := h.rnd.IntN(100); {
	case n < 50:
		events := h.events()
		err = h.store.Append(ctx, key, events)
		h.model.events[key] = append(h.model.events[key], events...)
	case n < 70:
		events, value := h.events(), int64(h.rnd.IntN(60))
		err = h.store.AppendCursor(ctx, key, events, Cursor{Name: key.Stream, Value: value})
		if old, ok := h.model.cursors[key]; !ok || value > old {
			h.model.events[key] = append(h.model.events[key], events...)
			h.model.cursors[key] = value
		}
	case n < 75:
		err = h.store.ForgetCursor(ctx, key.Group, key.Stream)
		delete(h.model.cursors, key)
	case n < 80:
		err = h.store.DeleteStream(ctx, key)
		delete(h.model.events, key)
	case n < 83:
		err = h.store.DeleteGroup(ctx, key.Group)
		for k := range h.model.events {
			if k.Group == key.Group {
				delete(h.model.events, k)
			}
		}
	case n < 90:
		err = h.store.flushAndSync(ctx)
	default:
		h.restart(n)
	}
	if err != nil {
		h.t.Fatal(err)
	}
}

// restart ends the store in one of the ways that a process ends, and opens it again.
func (h *history) restart(n int) {
	points := map[int][]string{90: nil, 91: {"logs/flush"}, 92: {"logs/checkpoint"}, 93: {"logs/meta"}}
	names, ok := points[n]
	if !ok {
		names = []string{"logs/flush", "logs/checkpoint"}
	}
	var disable []func()
	for _, name := range names {
		disable = append(disable, failpoint.Enable(name, func() error { return errors.New("crash") }))
	}
	if err := h.store.Close(); err != nil && names == nil {
		h.t.Fatal(err)
	}
	if n < 97 { // else recovery cannot checkpoint either
		for _, f := range disable {
			f()
		}
	}
	h.store = openStore(h.t, h.dir, newRows())
	for _, f := range disable {
		f()
	}
	h.check()
}

// check compares everything that can be read.
func (h *history) check() {
	h.t.Helper()
	byGroup := map[app.LogGroupKey][]app.LogEvent{}
	for g := range 3 {
		for s := range 3 {
			key := streamKey(fmt.Sprintf("g%d", g), fmt.Sprintf("s%d", s))
			want := slices.Clone(h.model.events[key])
			slices.SortStableFunc(want, func(a, b app.LogEvent) int { return a.Timestamp.Compare(b.Timestamp) })
			equal(h.t, all(h.t, h.store, key, 1+h.rnd.IntN(300)), messages(want))
			equal(h.t, h.backwards(key), messages(want))
			if v, ok := h.store.Cursor(h.t.Context(), key.Group, key.Stream); ok != hasKey(h.model.cursors, key) || v != h.model.cursors[key] {
				h.t.Fatalf("cursor of %v is %d, %v; want %d", key, v, ok, h.model.cursors[key])
			}
			byGroup[key.Group] = append(byGroup[key.Group], want...)
		}
	}
	for g := range 3 {
		key := groupKey(fmt.Sprintf("g%d", g))
		got, want := h.filter(key), messages(byGroup[key])
		slices.Sort(got)
		slices.Sort(want)
		equal(h.t, got, want)
	}
}

func hasKey(m map[app.LogStreamKey]int64, key app.LogStreamKey) bool { _, ok := m[key]; return ok }

func messages(events []app.LogEvent) []string {
	var out []string
	for _, e := range events {
		out = append(out, e.Message)
	}
	return out
}

// backwards reads a stream from its end by backward tokens.
func (h *history) backwards(key app.LogStreamKey) []string {
	var out []string
	in := GetEventsInput{Stream: key, Limit: 1 + h.rnd.IntN(300)}
	for {
		page, err := h.store.GetEvents(h.t.Context(), in)
		if err != nil {
			h.t.Fatal(err)
		}
		if len(page.Events) == 0 {
			slices.Reverse(out)
			return out
		}
		for _, e := range slices.Backward(page.Events) {
			out = append(out, e.Message)
		}
		in.Token = page.BackwardToken
	}
}

// filter reads a group by pages, with a scan bound that interrupts, and checks the order.
func (h *history) filter(key app.LogGroupKey) []string {
	h.store.scanLimit = int64(1 + h.rnd.IntN(400<<10))
	var out []string
	in := FilterInput{Group: key, Limit: 1 + h.rnd.IntN(100)}
	last := ""
	for {
		page, err := h.store.Filter(h.t.Context(), in)
		if err != nil {
			h.t.Fatal(err)
		}
		for _, e := range page.Events {
			if e.ID <= last {
				h.t.Fatalf("event %s after %s", e.ID, last)
			}
			last = e.ID
			out = append(out, e.Message)
		}
		if page.NextToken == "" {
			return out
		}
		in.Token = page.NextToken
	}
}

// TestRandomHistories: whatever happens, and however the process ends, the store holds exactly what was acknowledged.
func TestRandomHistories(t *testing.T) {
	seeds := uint64(12)
	if testing.Short() {
		seeds = 4
	}
	for seed := range seeds {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			h := &history{t: t, rnd: rand.New(rand.NewPCG(seed, 1)), dir: t.TempDir(),
				model: model{events: map[app.LogStreamKey][]app.LogEvent{}, cursors: map[app.LogStreamKey]int64{}}}
			h.store = openStore(t, h.dir, newRows())
			for range 120 {
				h.step()
			}
			h.check()
			if got, want := h.store.bytes.Load(), h.store.countBytes(); got < 0 || want == 0 && got > 0 {
				t.Errorf("the store counts %d bytes, there are %d", got, want)
			}
		})
	}
}
