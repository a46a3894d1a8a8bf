package script

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/funade/funade/test/harness"
)

// hammer calls a URL again and again and counts.
type hammer struct {
	cancel context.CancelFunc
	wg     sync.WaitGroup

	mu      sync.Mutex
	good    int
	failure error // the first
}

func startHammer(server *harness.Server, url string) *hammer {
	ctx, cancel := context.WithCancel(context.Background())
	h := &hammer{cancel: cancel}
	for range 2 {
		h.wg.Add(1)
		go func() {
			defer h.wg.Done()
			for ctx.Err() == nil {
				h.once(ctx, server, url)
			}
		}()
	}
	return h
}

func (h *hammer) once(ctx context.Context, server *harness.Server, url string) {
	status, _, body, err := server.Get(ctx, url)
	if ctx.Err() != nil {
		return
	}
	if err == nil && status != 200 {
		err = fmt.Errorf("status %d: %s", status, body)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if err == nil {
		h.good++
	} else if h.failure == nil {
		h.failure = fmt.Errorf("after %d good calls: %w", h.good, err)
	}
}

// end stops the calls and returns how many were answered well and the first failure.
func (h *hammer) end() (int, error) {
	h.cancel()
	h.wg.Wait()
	return h.good, h.failure
}

func cmdHammer(ts *testscript.TestScript, neg bool, args []string) {
	st := of(ts)
	switch {
	case !neg && len(args) == 2 && args[0] == "start":
		st.calls = startHammer(st.server, args[1])
	case !neg && len(args) == 1 && args[0] == "stop" && st.calls != nil:
		good, err := st.calls.end()
		st.calls = nil
		ts.Check(err)
		if good == 0 {
			ts.Fatalf("no call was made, so nothing is shown")
		}
		ts.Logf("%d calls, all answered", good)
	default:
		usage(ts, "hammer start URL | hammer stop")
	}
}

// cmdNothingLeft looks for the install's id in everything of the system that carries it.
func cmdNothingLeft(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		usage(ts, "nothing-left INSTALL-ID")
	}
	id := args[0]
	deadline := time.Now().Add(10 * time.Second)
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for {
		left := leftovers(id)
		if len(left) == 0 {
			return
		}
		if time.Now().After(deadline) {
			ts.Fatalf("left over: %s", strings.Join(left, ", "))
		}
		<-tick.C
	}
}

func leftovers(id string) []string {
	var left []string
	if mounts, err := os.ReadFile("/proc/self/mounts"); err == nil {
		for l := range strings.Lines(string(mounts)) {
			if strings.Contains(l, id) {
				left = append(left, "mount "+strings.TrimSpace(l))
			}
		}
	}
	for _, pattern := range []string{"/run/funade/" + id, "/sys/fs/cgroup/*" + id + "*", "/sys/fs/cgroup/*/*" + id + "*", "/sys/class/net/*" + id + "*"} {
		found, err := filepath.Glob(pattern)
		if err == nil {
			left = append(left, found...)
		}
	}
	procs, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		return left
	}
	for _, p := range procs {
		if data, err := os.ReadFile(p); err == nil && strings.Contains(string(data), id) {
			left = append(left, "process "+strings.ReplaceAll(string(data), "\x00", " "))
		}
	}
	return left
}
