package shim

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// Annotations of a bundle that tell our shim where things are. No annotation holds a secret.
const (
	AnnotationGroup  = "io.containerd.runc.v2.group"
	AnnotationEnv    = "dev.funade.env"
	AnnotationRecord = "dev.funade.record"
)

// Record is what the shim knows of the last run of an instance. It is on disk before the
// daemon hears of the event, so nothing is lost while no daemon runs.
type Record struct {
	StartedAt time.Time `json:"startedAt,omitzero"`
	ExitedAt  time.Time `json:"exitedAt,omitzero"`
	ExitCode  int       `json:"exitCode"`
	OOMKilled bool      `json:"oomKilled,omitempty"`
	// Failure is why the daemon ended it or could not start it.
	Failure string `json:"failure,omitempty"`
	// LayerFull: the writable layer outgrew its limit and is replaced at the next start.
	LayerFull bool `json:"layerFull,omitempty"`
}

// ReadRecord returns the zero record when there is none, or a torn one.
func ReadRecord(path string) Record {
	var r Record
	data, err := os.ReadFile(path)
	if err != nil || json.Unmarshal(data, &r) != nil {
		return Record{}
	}
	return r
}

// Write replaces the file. It is not synced: after a power failure "unknown" is true.
func (r Record) Write(path string) error {
	data, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("cannot encode record: %w", err)
	}
	tmp := path + ".new"
	if err := os.WriteFile(tmp, data, 0o600); err != nil {
		return fmt.Errorf("cannot write record: %w", err)
	}
	if err := os.Rename(tmp, path); err != nil {
		return fmt.Errorf("cannot write record: %w", err)
	}
	return nil
}

// OOMKills reads how many processes of a cgroup the kernel killed for want of memory; the
// counter lives as long as the cgroup, which runc removes when the task is deleted.
func OOMKills(cgroup string) int {
	for _, path := range []string{
		filepath.Join("/sys/fs/cgroup/memory", cgroup, "memory.oom_control"),
		filepath.Join("/sys/fs/cgroup", cgroup, "memory.events"),
	} {
		data, err := os.ReadFile(path)
		if err != nil {
			continue
		}
		for line := range strings.Lines(string(data)) {
			if value, ok := strings.CutPrefix(line, "oom_kill "); ok {
				n, _ := strconv.Atoi(strings.TrimSpace(value))
				return n
			}
		}
	}
	return 0
}
