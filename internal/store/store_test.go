package store

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/funade/funade/internal/app"
	"github.com/funade/funade/internal/base/failpoint"
)

var here = app.Scope{Account: "000000000000", Region: "us-east-1"}

func open(t testing.TB, path string) *Store {
	t.Helper()
	s, err := Open(path, Options{NoSync: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func service(n int) app.Service {
	return app.Service{ID: app.ServiceID(fmt.Sprintf("%032x", n)), Scope: here, Name: fmt.Sprintf("service-%05d", n), Status: app.ServiceRunning,
		Config: app.ServiceConfig{ScalingARN: "arn"}}
}

func update(t testing.TB, s *Store, fn func(tx *Tx)) {
	t.Helper()
	if err := s.Update(context.Background(), func(tx *Tx) error { fn(tx); return nil }); err != nil {
		t.Fatal(err)
	}
}

func view(t testing.TB, s *Store, fn func(tx *Tx)) {
	t.Helper()
	if err := s.View(context.Background(), func(tx *Tx) error { fn(tx); return nil }); err != nil {
		t.Fatal(err)
	}
}

func TestRowsSurviveReopening(t *testing.T) {
	path := filepath.Join(t.TempDir(), "data", "state.db")
	s := open(t, path)
	update(t, s, func(tx *Tx) {
		Control.Services.Put(tx, service(1))
		Control.Services.Put(tx, service(2))
		Control.Services.Delete(tx, service(2).ID)
		Control.Events.Append(tx, app.Event{Message: "one"})
		Control.Events.Append(tx, app.Event{Message: "two"})
	})
	if err := s.Verify(); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(path, Options{}); err == nil || !strings.Contains(err.Error(), "another funade process") {
		t.Errorf("a second server opens the same database: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := s.Update(context.Background(), func(tx *Tx) error { Control.Services.Put(tx, service(9)); return nil }); err == nil {
		t.Error("a closed store accepts writes")
	}
	s = open(t, path)
	view(t, s, func(tx *Tx) {
		if got, ok := ServicesByName.First(tx, app.NamedKey{Scope: here, Name: "service-00001"}); !ok || got.ID != service(1).ID {
			t.Errorf("found %v, %v", got, ok)
		}
		if Services.Len(tx) != 1 {
			t.Errorf("%d services, want 1", Services.Len(tx))
		}
		if e, _ := Events.Last(tx); e.Seq != 2 || e.Message != "two" {
			t.Errorf("last event %+v", e)
		}
	})
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v; want 0600", info.Mode(), err)
	}
}

func TestFailedUpdateLeavesNothing(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "state.db"))
	broken := errors.New("broken")
	err := s.Update(context.Background(), func(tx *Tx) error {
		Control.Services.Put(tx, service(1))
		return broken
	})
	if !errors.Is(err, broken) {
		t.Fatal(err)
	}
	defer failpoint.Enable("store/before-commit", func() error { return broken })()
	err = s.Update(context.Background(), func(tx *Tx) error { Control.Services.Put(tx, service(1)); return nil })
	if !errors.Is(err, broken) {
		t.Fatal(err)
	}
	func() {
		defer func() { _ = recover() }()
		_ = s.Update(context.Background(), func(tx *Tx) error {
			Control.Services.Put(tx, service(1))
			panic("in the middle")
		})
	}()
	view(t, s, func(tx *Tx) {
		if Services.Len(tx) != 0 {
			t.Error("a failed update left a row")
		}
		defer func() {
			if recover() == nil {
				t.Error("View let a write through")
			}
		}()
		Control.Services.Put(tx, service(1))
	})
	if err := s.Verify(); err != nil {
		t.Fatal(err)
	}
}

func TestErrorAfterCommitKeepsTheRow(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "state.db"))
	crash := errors.New("crash")
	disable := failpoint.Enable("store/after-commit", func() error { return crash })
	err := s.Update(context.Background(), func(tx *Tx) error { Control.Services.Put(tx, service(1)); return nil })
	disable()
	if !errors.Is(err, crash) {
		t.Fatal(err)
	}
	view(t, s, func(tx *Tx) {
		if Services.Len(tx) != 1 {
			t.Error("a committed row is missing")
		}
	})
}

func TestSnapshotsAreConsistent(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "state.db"))
	update(t, s, func(tx *Tx) { Control.Services.Put(tx, service(1)) })
	view(t, s, func(tx *Tx) {
		update(t, s, func(tx *Tx) {
			moved := service(1)
			moved.Status = app.ServiceDeleted
			Control.Services.Put(tx, moved)
			Control.Services.Put(tx, service(2))
		})
		if Services.Len(tx) != 1 {
			t.Error("a snapshot sees a later commit")
		}
		if _, ok := ServicesByName.First(tx, app.NamedKey{Scope: here, Name: "service-00001"}); !ok {
			t.Error("a snapshot's index sees a later commit")
		}
	})
	view(t, s, func(tx *Tx) {
		if _, ok := ServicesByName.First(tx, app.NamedKey{Scope: here, Name: "service-00001"}); ok {
			t.Error("a deleted service is still found by name")
		}
	})
}

func TestChangedWakesOnce(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "state.db"))
	both := s.Changed("services", "instances")
	other := s.Changed("operations")
	if s.Changed("services", "instances") != both {
		t.Error("a second watch of the same tables is another one: they would pile up")
	}
	update(t, s, func(tx *Tx) { Control.Services.Put(tx, service(1)) })
	select {
	case <-both:
	default:
		t.Error("a commit did not wake the watcher of its table")
	}
	select {
	case <-other:
		t.Error("a commit woke the watcher of another table")
	default:
	}
	update(t, s, func(*Tx) {})
	select {
	case <-s.Changed("services"):
		t.Error("an update without changes woke somebody")
	default:
	}
}

func TestPages(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "state.db"))
	update(t, s, func(tx *Tx) {
		for n := range 10 {
			Control.Services.Put(tx, service(n))
		}
		elsewhere := service(99)
		elsewhere.Scope.Region = "us-east-2"
		Control.Services.Put(tx, elsewhere)
	})
	odd := func(s app.Service) bool { return strings.ContainsAny(s.Name[len(s.Name)-1:], "13579") }
	view(t, s, func(tx *Tx) {
		for _, keep := range []func(app.Service) bool{nil, odd} {
			want, _ := ServicesByScope.Page(tx, here, "", 0, keep)
			for limit := 1; limit <= 11; limit++ {
				var got []app.Service
				for after, more := "", true; more; more = after != "" {
					var rows []app.Service
					rows, after = ServicesByScope.Page(tx, here, after, limit, keep)
					if len(rows) == 0 && after == "" && len(got) < len(want) {
						t.Fatalf("limit %d: empty page", limit)
					}
					got = append(got, rows...)
				}
				if !slices.EqualFunc(got, want, func(a, b app.Service) bool { return a.ID == b.ID }) {
					t.Errorf("limit %d: %d rows, want %d", limit, len(got), len(want))
				}
			}
		}
	})
}

func TestTreeAgreesWithMap(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	var root *tree
	want := map[string]int{}
	for range 20000 {
		key := fmt.Sprint(r.IntN(500))
		before := root
		if r.IntN(3) == 0 {
			root = root.without(key)
			delete(want, key)
		} else {
			v := r.Int()
			root = root.with(key, v)
			want[key] = v
		}
		if _, had := before.get(key); r.IntN(100) == 0 && had {
			if _, still := before.get(key); !still {
				t.Fatal("an older tree changed")
			}
		}
	}
	var keys []string
	root.ascend("", func(key string, row any) bool {
		keys = append(keys, key)
		if want[key] != row.(int) {
			t.Fatalf("%s is %v, want %d", key, row, want[key])
		}
		return true
	})
	if len(keys) != len(want) || !slices.IsSorted(keys) {
		t.Fatalf("%d keys (sorted %v), want %d", len(keys), slices.IsSorted(keys), len(want))
	}
}

func TestBuiltTreeIsTheInsertedOne(t *testing.T) {
	var entries []entry
	var inserted *tree
	for _, n := range rand.New(rand.NewPCG(3, 4)).Perm(1000) {
		key := fmt.Sprint(n)
		entries = append(entries, entry{key, n})
		inserted = inserted.with(key, n)
	}
	var same func(a, b *tree) bool
	same = func(a, b *tree) bool {
		if a == nil || b == nil {
			return a == b
		}
		return a.key == b.key && a.row == b.row && same(a.left, b.left) && same(a.right, b.right)
	}
	if !same(build(entries), inserted) {
		t.Error("build and with make different trees of the same entries")
	}
	if build(nil) != nil {
		t.Error("a tree of nothing is not empty")
	}
}

func TestFullDiskUsesTheReserve(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.db")
	s, err := Open(path, Options{NoSync: true, Reserve: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	reserve := path + ".reserve"
	if info, err := os.Stat(reserve); err != nil || info.Size() != 1<<20 {
		t.Fatalf("no reserve: %v", err)
	}
	put := func() error {
		return s.Update(context.Background(), func(tx *Tx) error { Control.Services.Put(tx, service(1)); return nil })
	}
	// Full as long as the reserve takes up the space.
	disable := failpoint.Enable("store/disk", func() error {
		if _, err := os.Stat(reserve); err == nil {
			return syscall.ENOSPC
		}
		return nil
	})
	if err := put(); err != nil {
		t.Fatalf("a control write failed although there was a reserve: %v", err)
	}
	disable()
	if err := put(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(reserve); err != nil {
		t.Errorf("the reserve was not taken back once there was space: %v", err)
	}
	defer failpoint.Enable("store/disk", func() error { return syscall.ENOSPC })()
	if err := put(); app.KindOf(err) != app.KindUnavailable {
		t.Errorf("a full disk is %v (%v), want Unavailable", err, app.KindOf(err))
	}
}

func TestVerifyFindsChangesInPlace(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "state.db"))
	svc := service(1)
	svc.Config.Source.Env = map[string]string{"A": "1"}
	update(t, s, func(tx *Tx) { Control.Services.Put(tx, svc) })
	svc.Config.Source.Env["A"] = "2"
	if s.Verify() == nil {
		t.Error("a row changed in place was not noticed")
	}
}

func TestCommitsAreDurable(t *testing.T) {
	s, err := Open(filepath.Join(t.TempDir(), "state.db"), Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for pragma, want := range map[string]string{"synchronous": "2", "journal_mode": "wal", "locking_mode": "exclusive"} {
		var got string
		if err := s.disk.conn.QueryRowContext(context.Background(), "PRAGMA "+pragma).Scan(&got); err != nil || got != want {
			t.Errorf("%s is %q, %v; want %q", pragma, got, err, want)
		}
	}
}

func TestNewerLayoutIsRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.db")
	s := open(t, path)
	if _, err := s.disk.conn.ExecContext(context.Background(), "PRAGMA user_version = 99"); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(path, Options{}); err == nil || !strings.Contains(err.Error(), "newer") {
		t.Errorf("opening a newer layout: %v", err)
	}
}

func TestOperationsComeNewestFirst(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "state.db"))
	base := time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
	update(t, s, func(tx *Tx) {
		for n := range 5 {
			op := app.Operation{ID: app.OperationID(fmt.Sprint(n)), Service: "s", Status: app.OpSucceeded, StartedAt: base.Add(time.Duration(n) * time.Second)}
			if n == 3 {
				op.Status = app.OpInProgress
			}
			Control.Operations.Put(tx, op)
		}
	})
	view(t, s, func(tx *Tx) {
		var ids []string
		for op := range OperationsByService.Each(tx, "s") {
			ids = append(ids, string(op.ID))
		}
		if strings.Join(ids, "") != "43210" {
			t.Errorf("order %v", ids)
		}
		if op, ok := OperationsInFlight.First(tx, struct{}{}); !ok || op.ID != "3" {
			t.Errorf("in flight %v", op)
		}
	})
}
