package containerd

import (
	"bufio"
	"os"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// shimQuiet is how long after its last request a shim hands memory back.
const shimQuiet = time.Second

// frugal hands a shim's memory back once it is quiet: a shim sleeps for nearly all of its
// life, while the code that started its container would stay mapped.
type frugal struct {
	mu    sync.Mutex
	timer *time.Timer
}

// busy notes a request.
func (f *frugal) busy() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.timer == nil {
		f.timer = time.AfterFunc(shimQuiet, handBack)
		return
	}
	f.timer.Reset(shimQuiet)
}

// handBack frees the heap's spare pages and unmaps the pages of our executable that are
// read-only: they stay in the page cache and come back one by one when they are used.
func handBack() {
	debug.FreeOSMemory()
	self, err := os.Readlink("/proc/self/exe")
	if err != nil {
		return
	}
	f, err := os.Open("/proc/self/maps")
	if err != nil {
		return
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		fields := strings.Fields(s.Text())
		if len(fields) != 6 || fields[5] != self || strings.Contains(fields[1], "w") {
			continue
		}
		from, to, ok := strings.Cut(fields[0], "-")
		start, err1 := strconv.ParseUint(from, 16, 64)
		end, err2 := strconv.ParseUint(to, 16, 64)
		if ok && err1 == nil && err2 == nil {
			// Advice: a kernel that refuses only leaves the memory as it is.
			_, _, _ = unix.Syscall(unix.SYS_MADVISE, uintptr(start), uintptr(end-start), unix.MADV_DONTNEED)
		}
	}
}
