package control

import (
	"context"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/funade/funade/internal/app"
	"github.com/funade/funade/internal/store"
)

func TestShippedEventsArePurged(t *testing.T) {
	b := newBench(t)
	b.create("hello")
	last := func() (e app.Event, n int) {
		_ = b.store.View(ctx, func(tx *store.Tx) error {
			e, _ = store.Events.Last(tx)
			n = store.Events.Len(tx)
			return nil
		})
		return e, n
	}
	before, count := last()
	pass := func() {
		t.Helper()
		b.now = b.now.Add(2 * time.Minute)
		if _, err := b.Keeper().Pass(ctx); err != nil {
			t.Fatal(err)
		}
	}
	pass()
	if _, n := last(); n != count {
		t.Errorf("%d of %d events are left although none was shipped", n, count)
	}
	err := b.store.Update(ctx, func(tx *store.Tx) error {
		store.Observed.EventCursors.Put(tx, app.EventCursor{Shipped: before.Seq})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	pass()
	if e, n := last(); n != 1 || e.Seq != before.Seq {
		t.Errorf("%d events are left, the last %d; want only the last, %d", n, e.Seq, before.Seq)
	}
	b.create("other")
	if e, _ := last(); e.Seq <= before.Seq {
		t.Errorf("an event number was used again: %d after %d", e.Seq, before.Seq)
	}
}

func TestDeletedConfigurationsGoAfterAWhile(t *testing.T) {
	b := newBench(t)
	a, err := b.CreateAutoScalingConfiguration(ctx, scope, CreateAutoScalingInput{Name: "high", Tags: app.Tags{"a": "b"}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.DeleteAutoScalingConfiguration(ctx, scope, a.ARN(), false); err != nil {
		t.Fatal(err)
	}
	keeper := b.Keeper()
	for _, c := range []struct {
		after time.Duration
		gone  bool
	}{{30 * time.Minute, false}, {time.Hour, true}} {
		b.now = b.now.Add(c.after)
		if _, err := keeper.Pass(ctx); err != nil {
			t.Fatal(err)
		}
		_, err := b.DescribeAutoScalingConfiguration(ctx, scope, a.ARN())
		if (app.KindOf(err) == app.KindNotFound && err != nil) != c.gone {
			t.Errorf("%v later: %v", c.after, err)
		}
	}
	if again, err := b.CreateAutoScalingConfiguration(ctx, scope, CreateAutoScalingInput{Name: "high"}); err != nil || again.Revision != 2 {
		t.Errorf("revision %d after a purge, %v; a number is never used again", again.Revision, err)
	}
}

// TestKeeperRuns: an instance that failed is replaced without anybody calling.
func TestKeeperRuns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st, err := store.Open(filepath.Join(t.TempDir(), "state.db"), store.Options{NoSync: true})
		if err != nil {
			t.Fatal(err)
		}
		defer st.Close()
		c := New(st, Config{})
		run, cancel := context.WithCancel(context.Background())
		ended := make(chan struct{})
		go func() { defer close(ended); c.Keeper().Run(run) }()
		failed := app.Instance{ID: "failed", Service: "s", Revision: 1, Goal: app.GoalRun, CreatedAt: time.Now().UTC()}
		err = st.Update(ctx, func(tx *store.Tx) error {
			store.Control.Services.Put(tx, app.Service{ID: "s", Scope: scope, Name: "hello", Status: app.ServiceRunning, Routed: 1})
			store.Control.Revisions.Put(tx, app.Revision{Service: "s", Number: 1})
			store.Control.Instances.Put(tx, failed)
			store.Observed.InstanceStatuses.Put(tx, app.InstanceStatus{ID: failed.ID, Phase: app.PhaseFailed, Reason: "no image"})
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		count := func(goal app.InstanceGoal) (n int) {
			_ = st.View(ctx, func(tx *store.Tx) error {
				for i := range store.Instances.All(tx) {
					if i.Goal == goal {
						n++
					}
				}
				return nil
			})
			return n
		}
		time.Sleep(failedPause - time.Second)
		synctest.Wait()
		if run, stop := count(app.GoalRun), count(app.GoalStop); run != 1 || stop != 0 {
			t.Errorf("before the pause is over: %d run, %d stop", run, stop)
		}
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if run, stop := count(app.GoalRun), count(app.GoalStop); run != 1 || stop != 1 {
			t.Errorf("after it: %d run, %d stop", run, stop)
		}
		cancel()
		<-ended
	})
}

func TestEndsOfServingInstancesAreTold(t *testing.T) {
	b := newBench(t)
	arn := b.createARN("hello")
	b.settle()
	svc := b.describe(arn).ID
	keeper := b.Keeper()
	end := func(change func(*app.InstanceStatus)) {
		t.Helper()
		err := b.store.Update(ctx, func(tx *store.Tx) error {
			for i := range store.InstancesByService.Each(tx, svc) {
				s, _ := store.InstanceStatuses.Get(tx, i.ID)
				s.Ends, s.EndReason, s.OOMKilled = s.Ends+1, "", false
				change(&s)
				store.Observed.InstanceStatuses.Put(tx, s)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		change func(*app.InstanceStatus)
		text   string
	}{
		{func(s *app.InstanceStatus) { s.ExitCode, s.LastLines = 3, []string{"bye"} }, "ended, exit code 3. Last lines: bye"},
		{func(s *app.InstanceStatus) { s.ExitCode, s.OOMKilled = 137, true }, "killed for lack of memory. It used more than its 2048 MiB"},
		{func(s *app.InstanceStatus) { s.ExitCode, s.EndReason = 137, "it wrote too much" }, "exit code 137. It wrote too much."},
	} {
		before := len(b.events(svc))
		end(c.change)
		for range 2 { // the second finds nothing new
			if _, err := keeper.Pass(ctx); err != nil {
				t.Fatal(err)
			}
		}
		told := b.events(svc)[before:]
		if len(told) != 1 || !strings.Contains(told[0], c.text) {
			t.Errorf("told %q, want one event with %q", told, c.text)
		}
	}
}
