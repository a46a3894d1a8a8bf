package containerd

import (
	"sync"
	"time"

	"github.com/funade/funade/internal/app"
)

// starts knows which instances are between "recorded as started" and "the task is there",
// so that a List in between does not take them for ended.
type starts struct {
	mu    sync.Mutex
	marks map[app.InstanceID]startMark
}

type startMark struct {
	active   bool
	finished time.Time
}

// begin marks id as starting until end is called.
func (s *starts) begin(id app.InstanceID) (end func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.marks == nil {
		s.marks = map[app.InstanceID]startMark{}
	}
	s.marks[id] = startMark{active: true}
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.marks[id] = startMark{finished: time.Now()}
	}
}

// during reports whether id was starting at any time since then.
func (s *starts) during(id app.InstanceID, since time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	m := s.marks[id]
	return m.active || m.finished.After(since)
}

func (s *starts) forget(id app.InstanceID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.marks, id)
}
