package crash

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/apprunner/types"
	"golang.org/x/sys/unix"
)

// TestTerminate ends the server by SIGTERM under a slow request: the request is answered, the containers stay.
func TestTerminate(t *testing.T) {
	t.Parallel()
	w := newWorld(t, t.TempDir())
	svc := w.running("slow")
	url, arn := aws.ToString(svc.ServiceUrl), aws.ToString(svc.ServiceArn)
	before := w.pids(arn)
	type answer struct {
		status int
		body   string
		err    error
	}
	answered := make(chan answer, 1)
	go func() {
		status, _, body, err := w.server.Get(w.ctx, url+"/sleep?for=2s")
		answered <- answer{status, body, err}
	}()
	w.eventually(10*time.Second, "the slow request is under way", func() error {
		_, _, body, err := w.server.Get(w.ctx, url+"/asleep")
		if err == nil && body != "1" {
			err = fmt.Errorf("%s requests are asleep", body)
		}
		return err
	})
	if err := w.server.Stop(); err != nil {
		t.Error(err)
	}
	if a := <-answered; a.err != nil || a.status != http.StatusOK || a.body != "slept\n" {
		t.Errorf("the request in flight was answered by %d %q, %v", a.status, a.body, a.err)
	}
	check(t, w.server.Start(w.ctx))
	check(t, w.get(url))
	if now := w.pids(arn); !slices.Equal(now, before) {
		t.Errorf("the processes were %v and are %v", before, now)
	}
	check(t, w.unclaimed())
}

// TestReboot takes away what a reboot takes: all processes, namespaces, mounts, cgroups and /run.
func TestReboot(t *testing.T) {
	t.Parallel()
	w := newWorld(t, t.TempDir())
	one, two := w.running("first"), w.running("second")
	paused := w.running("paused")
	w.pause(aws.ToString(paused.ServiceArn))
	before := append(w.pids(aws.ToString(one.ServiceArn)), w.pids(aws.ToString(two.ServiceArn))...)
	check(t, w.server.Kill())
	w.reboot()
	check(t, w.server.Start(w.ctx))
	for _, arn := range []*string{one.ServiceArn, two.ServiceArn} {
		w.answers(aws.ToString(arn), 30*time.Second)
	}
	for _, pid := range append(w.pids(aws.ToString(one.ServiceArn)), w.pids(aws.ToString(two.ServiceArn))...) {
		if slices.Contains(before, pid) {
			t.Errorf("process %d is one from before the reboot, so nothing is shown", pid)
		}
	}
	w.eventually(20*time.Second, "everything is back and nothing else", w.unclaimed)
	w.status(aws.ToString(paused.ServiceArn), types.ServiceStatusPaused)
}

// reboot removes the install's processes, mounts, cgroups, links and /run. The server does not run.
func (w *world) reboot() {
	w.t.Helper()
	w.eventually(20*time.Second, "every process is gone", func() error {
		all := w.processes()
		for _, p := range all {
			_ = syscall.Kill(p.pid, syscall.SIGKILL) // it may be gone already
		}
		if len(all) > 0 {
			return fmt.Errorf("%v still run", all)
		}
		return nil
	})
	mounts := w.mounts()
	slices.SortFunc(mounts, func(a, b string) int { return strings.Count(b, "/") - strings.Count(a, "/") })
	for _, m := range mounts {
		check(w.t, unix.Unmount(m, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW))
	}
	if left := w.mounts(); len(left) > 0 {
		w.t.Fatalf("mounts %v are left, so nothing may be removed", left)
	}
	check(w.t, os.RemoveAll(w.runDir()))
	check(w.t, os.RemoveAll(w.tmp))
	check(w.t, os.Mkdir(w.tmp, 0o700))
	w.eventually(10*time.Second, "cgroups and links are gone", func() error {
		for _, root := range w.cgroups() {
			for _, pattern := range []string{"*/*", "*", "."} {
				found, _ := filepath.Glob(filepath.Join(root, pattern)) // the pattern is well formed
				for _, dir := range found {
					_ = unix.Rmdir(dir) // files stay, and go with their group
				}
			}
		}
		links, _ := filepath.Glob("/sys/class/net/*" + w.install + "*")
		return list(append(w.cgroups(), links...))
	})
}
