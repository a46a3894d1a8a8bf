// Package failpoint gives faults a named seam. Code calls Hit at the places
// where a crash or an error matters; tests and simulations enable actions there.
// With nothing enabled a Hit costs one atomic load.
package failpoint

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
)

var (
	enabled atomic.Bool
	mu      sync.Mutex
	actions = map[string]func() error{}
)

// Hit runs the action enabled for name and returns its error; nil when none is.
func Hit(name string) error {
	if !enabled.Load() {
		return nil
	}
	mu.Lock()
	action := actions[name]
	mu.Unlock()
	if action == nil {
		return nil
	}
	return action()
}

// Enable sets the action for name; nil removes it. The returned function removes it too.
func Enable(name string, action func() error) (disable func()) {
	mu.Lock()
	defer mu.Unlock()
	if action == nil {
		delete(actions, name)
	} else {
		actions[name] = action
	}
	enabled.Store(len(actions) > 0)
	return func() { Enable(name, nil) }
}

// FromEnv enables the failpoints of a list like "control/commit=kill@3,images/pull=error":
// kill sends SIGKILL to this process at the n-th hit (default the first), error returns an error from then on.
func FromEnv(list string) error {
	for _, item := range strings.FieldsFunc(list, func(r rune) bool { return r == ',' }) {
		name, what, ok := strings.Cut(item, "=")
		what, at, counted := strings.Cut(what, "@")
		n := 1
		if counted {
			var err error
			if n, err = strconv.Atoi(at); err != nil || n < 1 {
				return fmt.Errorf("cannot enable failpoint %q: the count %q is not a positive number", item, at)
			}
		}
		if !ok || what != "kill" && what != "error" {
			return fmt.Errorf("cannot enable failpoint %q: expected name=kill[@n] or name=error[@n]", item)
		}
		Enable(name, counting(name, what, n))
	}
	return nil
}

func counting(name, what string, n int) func() error {
	var hits atomic.Int64
	return func() error {
		if hits.Add(1) < int64(n) {
			return nil
		}
		if what == "kill" {
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {}
		}
		return fmt.Errorf("failpoint %s", name)
	}
}
