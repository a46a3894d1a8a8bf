package shim

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

// Quiet is how long after its last request a shim hands memory back, and again every
// handBackEvery: being asked for its state brings some of it in again.
const (
	Quiet         = time.Second
	handBackEvery = 30 * time.Second
)

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
		f.timer = time.AfterFunc(Quiet, func() {
			handBack()
			f.mu.Lock()
			defer f.mu.Unlock()
			f.timer.Reset(handBackEvery)
		})
		return
	}
	f.timer.Reset(Quiet)
}

// handBack frees the heap's spare pages and unmaps the pages of our executable that are
// read-only: they stay in the page cache and come back one by one when they are used. It
// lets the collector come to rest first and unmaps last, or the pages would be back at once.
func handBack() {
	debug.FreeOSMemory()
	ranges := codeRanges()
	<-time.After(Quiet / 4)
	for _, r := range ranges {
		// Advice: a kernel that refuses only leaves the memory as it is.
		_, _, _ = unix.Syscall(unix.SYS_MADVISE, r.start, r.end-r.start, unix.MADV_DONTNEED)
	}
}

type addressRange struct{ start, end uintptr }

// codeRanges finds the read-only mappings of our executable.
func codeRanges() []addressRange {
	self, err := os.Readlink("/proc/self/exe")
	if err != nil {
		return nil
	}
	f, err := os.Open("/proc/self/maps")
	if err != nil {
		return nil
	}
	defer f.Close()
	var out []addressRange
	for s := bufio.NewScanner(f); s.Scan(); {
		fields := strings.Fields(s.Text())
		if len(fields) != 6 || fields[5] != self || strings.Contains(fields[1], "w") {
			continue
		}
		from, to, ok := strings.Cut(fields[0], "-")
		start, err1 := strconv.ParseUint(from, 16, 64)
		end, err2 := strconv.ParseUint(to, 16, 64)
		if ok && err1 == nil && err2 == nil {
			out = append(out, addressRange{uintptr(start), uintptr(end)})
		}
	}
	return out
}
