package converge

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/funade/funade/internal/app"
	"github.com/funade/funade/internal/store"
)

// sink is a log store by its contract: an append is atomic with its cursor, one that is not beyond it changes nothing.
type sink struct {
	made    map[app.LogStreamKey]bool
	lines   map[app.LogStreamKey][]string
	cursors map[app.LogStreamKey]int64
	ships   int
	fail    func(n int) error // asked after the n-th append
}

func newSink() *sink {
	return &sink{made: map[app.LogStreamKey]bool{}, lines: map[app.LogStreamKey][]string{}, cursors: map[app.LogStreamKey]int64{}}
}

func (s *sink) Ensure(_ context.Context, key app.LogStreamKey) error {
	s.made[key] = true
	return nil
}

func (s *sink) Ship(_ context.Context, key app.LogStreamKey, events []app.LogEvent, seq int64) error {
	if !s.made[key] {
		return fmt.Errorf("there is no stream %s", key.Stream)
	}
	s.ships++
	if seq > s.cursors[key] {
		s.cursors[key] = seq
		for _, e := range events {
			s.lines[key] = append(s.lines[key], e.Message)
		}
	}
	if s.fail != nil {
		return s.fail(s.ships)
	}
	return nil
}

func stream(name string) app.LogStreamKey {
	svc := app.Service{ID: service, Scope: scope, Name: "hello"}
	return app.LogStreamKey{Group: svc.ServiceLogGroup("service"), Stream: name}
}

func addEvents(t *testing.T, s *store.Store, from, to int, target app.EventTarget) {
	t.Helper()
	err := s.Update(t.Context(), func(tx *store.Tx) error {
		for n := from; n <= to; n++ {
			store.Control.Events.Append(tx, app.Event{
				Scope: scope, Service: service, Name: "hello", Operation: "op", Target: target, At: time.Unix(int64(n), 0), Message: fmt.Sprint(n),
			})
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func numbers(from, to int, prefix string) (out []string) {
	for n := from; n <= to; n++ {
		out = append(out, prefix+fmt.Sprint(n))
	}
	return out
}

func TestEventsAreShippedInOrderOnce(t *testing.T) {
	s, out := openStore(t), newSink()
	c := NewEvents(s, out)
	addEvents(t, s, 1, 3, app.ToEvents|app.ToDeployment)
	addEvents(t, s, 4, 2500, app.ToEvents)
	for range 3 {
		if err := c.pass(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if !slices.Equal(out.lines[stream("events")], numbers(1, 2500, "")) {
		t.Errorf("the stream events has %d lines", len(out.lines[stream("events")]))
	}
	if got := out.lines[stream("deployment/op")]; !slices.Equal(got, numbers(1, 3, "[AppRunner] ")) {
		t.Errorf("the deployment's stream has %q", got)
	}
	ships := out.ships
	addEvents(t, s, 2501, 2600, app.ToEvents)
	if err := c.pass(t.Context()); err != nil || out.ships != ships+1 {
		t.Errorf("100 events of one stream took %d appends, %v", out.ships-ships, err)
	}
}

// Wherever a process dies, between two appends or before the cursor is written, the next one repeats nothing, also
// when more events have come meanwhile.
func TestEventsSurviveCrashes(t *testing.T) {
	died := errors.New("died")
	for at := 1; at <= 12; at++ {
		s, out := openStore(t), newSink()
		c := NewEvents(s, out)
		addEvents(t, s, 1, 2, app.ToEvents)
		if err := c.pass(t.Context()); err != nil {
			t.Fatal(err)
		}
		begin := out.ships
		out.fail = func(n int) error {
			if n-begin == at {
				return died
			}
			return nil
		}
		next := 3
		for range 4 {
			addEvents(t, s, next, next+2, app.ToEvents|app.ToDeployment)
			next += 3
			if err := c.pass(t.Context()); errors.Is(err, died) {
				c = NewEvents(s, out)
			} else if err != nil {
				t.Fatal(err)
			}
		}
		if err := c.pass(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := out.lines[stream("events")]; !slices.Equal(got, numbers(1, next-1, "")) {
			t.Errorf("death after append %d: the stream events has %q", at, got)
		}
		if got := out.lines[stream("deployment/op")]; !slices.Equal(got, numbers(3, next-1, "[AppRunner] ")) {
			t.Errorf("death after append %d: the deployment's stream has %q", at, got)
		}
	}
}

// TestEventsOfHosts: what is told of a private host goes to its own log group.
func TestEventsOfHosts(t *testing.T) {
	host := app.Host{ID: "i-0123456789abcdef0", Scope: scope}
	got := lines(app.Event{Scope: scope, Host: host.ID, Target: app.ToEvents | app.ToDeployment, Message: "A session was opened."})
	want := app.LogStreamKey{Group: app.LogGroupKey{Scope: scope, Name: "/aws/ec2/instance/i-0123456789abcdef0"}, Stream: "events"}
	if len(got) != 1 || got[0].key != want || got[0].event.Message != "A session was opened." {
		t.Errorf("got %+v; want one line in %v", got, want)
	}
}
