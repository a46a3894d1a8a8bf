package converge

import (
	"errors"
	"testing"
	"time"

	"github.com/funade/funade/internal/app"
	"github.com/funade/funade/internal/base/failpoint"
	"github.com/funade/funade/internal/store"
	"github.com/funade/funade/internal/vpc"
	vpcfake "github.com/funade/funade/internal/vpc/fake"
)

func attachment(t *testing.T) vpc.Attachment {
	t.Helper()
	a, err := vpcfake.NewKernel().Open().Attach(t.Context(), vpc.Interface{ID: "eni-00000000000000001"})
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func (w *world) slot(id app.InstanceID) (s app.InterfaceStatus) {
	w.t.Helper()
	w.view(func(tx *store.Tx) {
		for i := range store.InterfacesByInstance.Each(tx, id) {
			s, _ = store.InterfaceStatuses.Get(tx, i.ID)
		}
	})
	return s
}

func TestSlotsAreGivenOutAndFreed(t *testing.T) {
	inWorld(t, func(w *world) {
		w.boot()
		var ids []app.InstanceID
		for n := range 4 {
			ids = append(ids, w.want(n, app.GoalRun))
		}
		for n, id := range ids {
			s := w.slot(id)
			if !s.Ready || s.Index != n || s.Error != "" || s.Address == "" {
				t.Errorf("interface %d is %+v", n, s)
			}
		}
		fifth := w.want(5, app.GoalRun)
		w.pass(time.Second)
		if s := w.slot(fifth); s.Ready || s.Error == "" {
			t.Fatalf("with all slots in use the interface is %+v", s)
		}
		// What is full does not hold up the rest: a slot becomes free and is given to the one that waits.
		w.want(2, app.GoalStop)
		w.pass(time.Second)
		w.drop(ids[2])
		w.pass(6 * time.Second)
		if s := w.slot(fifth); !s.Ready || s.Index != 2 || s.Error != "" {
			t.Errorf("with a slot free the interface is %+v", s)
		}
		w.wantPhase(fifth, app.PhaseRunning, 0)
	})
}

func TestUnknownAttachmentsAreDetached(t *testing.T) {
	inWorld(t, func(w *world) {
		if _, err := w.kernel.Open().Attach(w.t.Context(), vpc.Interface{ID: "eni-000000000000000ff", Index: 3}); err != nil {
			t.Fatal(err)
		}
		w.boot()
		id := w.want(1, app.GoalRun)
		if leaks := w.kernel.Leaks("eni-00000000000000001"); len(leaks) != 0 {
			t.Errorf("%v is left", leaks)
		}
		w.wantPhase(id, app.PhaseRunning, 0)
	})
}

func TestAttachmentThatVanishedIsMadeAgain(t *testing.T) {
	inWorld(t, func(w *world) {
		w.boot()
		id := w.want(1, app.GoalRun)
		before := w.slot(id)
		w.kernel.Reboot()
		w.pass(6 * time.Second)
		if c := w.kernel.Counts(); c.Attached != 2 {
			t.Errorf("counts are %+v, want a second attachment", c)
		}
		if after := w.slot(id); after != before {
			t.Errorf("the interface went from %+v to %+v", before, after)
		}
	})
}

func TestFailedAttachmentIsToldAndTriedAgain(t *testing.T) {
	inWorld(t, func(w *world) {
		defer failpoint.Enable("vpc/attach/namespaces", func() error { return errors.New("no memory") })()
		w.boot()
		id := w.want(1, app.GoalRun)
		if s := w.slot(id); s.Ready || s.Error != "cannot attach the network interface: no memory" {
			t.Fatalf("the interface is %+v", s)
		}
		if w.status(id).Phase != "" {
			t.Error("an instance without a network was started")
		}
		failpoint.Enable("vpc/attach/namespaces", nil)
		w.pass(6 * time.Second)
		if s := w.slot(id); !s.Ready || s.Error != "" {
			t.Errorf("the interface is %+v", s)
		}
		w.wantPhase(id, app.PhaseRunning, 0)
	})
}
