package converge

import (
	"encoding/base64"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/funade/funade/internal/app"
	"github.com/funade/funade/internal/engine"
	"github.com/funade/funade/internal/engine/fake"
	"github.com/funade/funade/internal/store"
)

const hostID = app.HostID("i-0123456789abcdef0")

// wantHost writes the rows of a private host whose image is there.
func (w *world) wantHost(change func(*app.Host)) app.InstanceID {
	w.t.Helper()
	id := app.InstanceID("0000000000000000000000000000000a")
	h := app.Host{
		ID: hostID, Scope: scope, Reference: "docker.io/library/hello:v1", Asked: 2, CPU: 2048, Memory: 1024, Wanted: app.HostRunning, State: app.HostPending,
		Run: id, Volumes: []app.VolumeID{"vol-0123456789abcdef0"},
	}
	change(&h)
	w.update(func(tx *store.Tx) {
		store.Control.Hosts.Put(tx, h)
		store.Control.ImageRequests.Put(tx, app.ImageRequest{Service: app.ServiceID(hostID), Revision: 2, Scope: scope, Image: h.Reference})
		store.Observed.ImageStatuses.Put(tx, app.ImageStatus{Service: app.ServiceID(hostID), Revision: 2, Ready: true, Digest: digest})
		store.Control.Instances.Put(tx, app.Instance{ID: id, Host: hostID, Interface: "eni-0000000000000000a", Goal: app.GoalRun})
		store.Control.Interfaces.Put(tx, app.Interface{ID: "eni-0000000000000000a", Instance: id, Scope: scope})
	})
	w.settle()
	return id
}

func TestHostRuns(t *testing.T) {
	inWorld(t, func(w *world) {
		var got []engine.Instance
		w.engine.AddImage("docker.io/library/hello:v1", digest, func(in engine.Instance) fake.Behaviour {
			got = append(got, in)
			return fake.Behaviour{Exits: len(got) == 1, ExitAfter: time.Second, ExitCode: 1, StopAfter: 29 * time.Second}
		}, nil)
		w.boot()
		id := w.wantHost(func(h *app.Host) { h.UserData = base64.StdEncoding.EncodeToString([]byte("#!/bin/sh\n")) })
		w.wantPhase(id, app.PhaseRunning, 0)
		in := got[0]
		if in.Service != app.ServiceID(hostID) || in.Image != digest || in.CPU != 2048 || in.Memory != 1024 || in.Volume != "/volumes/vol-0123456789abcdef0" ||
			!slices.Contains(in.Env, "USER_DATA=#!/bin/sh\n") || !slices.Contains(in.Env, "AWS_REGION=us-east-1") {
			t.Errorf("got %+v", in)
		}
		if len(in.Files) != 1 || in.Files[0].Path != "/var/lib/cloud/instance/user-data.txt" || string(in.Files[0].Data) != "#!/bin/sh\n" {
			t.Errorf("files are %+v", in.Files)
		}
		if s, ok := w.logs.source(id); !ok || s.Key.Group.Name != "/aws/ec2/instance/"+string(hostID) || s.Key.Stream != "console" {
			t.Errorf("it logs to %+v, %v", s.Key, ok)
		}
		w.pass(5 * time.Second) // it exits once and is started again
		w.wantPhase(id, app.PhaseRunning, 1)
		w.update(func(tx *store.Tx) {
			i, _ := store.Instances.Get(tx, id)
			i.Goal = app.GoalStop
			store.Control.Instances.Put(tx, i)
		})
		w.pass(28 * time.Second) // it takes 29 of the 30 seconds that it has
		w.wantPhase(id, app.PhaseRunning, 1)
		w.pass(2 * time.Second)
		w.wantPhase(id, app.PhaseGone, 1)
		if len(got) != 2 {
			t.Errorf("it ran %d times", len(got))
		}
	})
}

// A host with user data that no variable can hold has it as a file.
func TestHostBinaryUserData(t *testing.T) {
	inWorld(t, func(w *world) {
		var got engine.Instance
		w.engine.AddImage("docker.io/library/hello:v1", digest, func(in engine.Instance) fake.Behaviour { got = in; return fake.Behaviour{} }, nil)
		w.boot()
		w.wantPhase(w.wantHost(func(h *app.Host) { h.UserData = base64.StdEncoding.EncodeToString([]byte("\x1f\x8b\x00")) }), app.PhaseRunning, 0)
		if len(got.Files) != 1 || slices.ContainsFunc(got.Env, func(s string) bool { return len(s) > 9 && s[:9] == "USER_DATA" }) {
			t.Errorf("got %+v", got)
		}
	})
}

func TestHostWithBrokenUserDataFails(t *testing.T) {
	inWorld(t, func(w *world) {
		w.boot()
		id := w.wantHost(func(h *app.Host) { h.UserData = "no base64!" })
		w.wantPhase(id, app.PhaseFailed, 0)
	})
}

func TestHostname(t *testing.T) {
	inWorld(t, func(w *world) {
		w.update(func(tx *store.Tx) {
			store.Control.NetworkInterfaces.Put(tx, app.NetworkInterface{ID: "eni-b", Scope: scope, Addresses: []netip.Addr{netip.MustParseAddr("10.0.0.5")}})
		})
		var got engine.Instance
		w.engine.AddImage("docker.io/library/hello:v1", digest, func(in engine.Instance) fake.Behaviour { got = in; return fake.Behaviour{} }, nil)
		w.boot()
		w.wantHost(func(h *app.Host) { h.Interfaces = []app.InterfaceID{"eni-b"} })
		if got.Hostname != "ip-10-0-0-5" {
			t.Errorf("its name is %q", got.Hostname)
		}
	})
}

// Folders of volumes that control has no longer go, whatever a crash left half removed; others stay.
func TestVolumesRemovesFolders(t *testing.T) {
	st, dir := openStore(t), t.TempDir()
	if err := NewVolumes(st, filepath.Join(dir, "none")).pass(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"vol-a/data", "vol-b/data", "vol-c.removed/data", "backup"} {
		if err := os.MkdirAll(filepath.Join(dir, name), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	err := st.Update(t.Context(), func(tx *store.Tx) error {
		store.Control.Volumes.Put(tx, app.Volume{ID: "vol-a", Scope: scope})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := NewVolumes(st, dir).pass(t.Context()); err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var left []string
	for _, e := range entries {
		left = append(left, e.Name())
	}
	if !slices.Equal(left, []string{"backup", "vol-a"}) {
		t.Errorf("left are %v", left)
	}
}
