package containerd

import (
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// tree are processes, held by descriptors so that a number that was given out again harms nobody.
type tree []int

// descendants returns the processes below pid. Those that are being started meanwhile may be missing.
func descendants(pid int) (out tree) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil
	}
	children := map[int][]int{}
	for _, entry := range entries {
		if n, err := strconv.Atoi(entry.Name()); err == nil {
			parent := parentOf(n)
			children[parent] = append(children[parent], n)
		}
	}
	for queue := []int{pid}; len(queue) > 0; queue = queue[1:] {
		for _, child := range children[queue[0]] {
			fd, err := unix.PidfdOpen(child, 0)
			if err != nil {
				continue // it has ended
			}
			if parentOf(child) != queue[0] {
				unix.Close(fd) // the number is another's by now
				continue
			}
			out, queue = append(out, fd), append(queue, child)
		}
	}
	return out
}

// kill ends them and lets go.
func (t tree) kill() {
	for _, fd := range t {
		_ = unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0) // it may have ended
		unix.Close(fd)
	}
}

// parentOf reads a process's parent; 0 = gone.
func parentOf(pid int) int {
	data, _ := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	// The name, in parentheses, may hold anything; state and parent follow it.
	fields := strings.Fields(string(data)[strings.LastIndexByte(string(data), ')')+1:])
	if len(fields) < 2 {
		return 0
	}
	n, _ := strconv.Atoi(fields[1])
	return n
}
