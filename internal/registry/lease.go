package registry

import (
	"sync"
	"time"

	"github.com/funade/funade/internal/app"
)

// leases remembers which blobs clients were just told about, so that garbage collection leaves their links alone
// until the push that relies on them has had time to end. It is lost with the process: the first collection
// therefore runs no earlier than Grace after the start.
type leases struct {
	mu    sync.Mutex
	until map[app.BlobKey]time.Time
	// pruneAt is the size at which expired entries are dropped next.
	pruneAt int
}

const minPrune = 4096

func (l *leases) add(link app.BlobKey, until, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.until[link] = until
	if len(l.until) < max(l.pruneAt, minPrune) {
		return
	}
	for k, t := range l.until {
		if t.Before(now) {
			delete(l.until, k)
		}
	}
	l.pruneAt = 2 * len(l.until)
}

func (l *leases) drop(link app.BlobKey) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.until, link)
}

func (l *leases) held(link app.BlobKey, now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return now.Before(l.until[link])
}

// lease keeps the link for the grace period.
func (r *Registry) lease(key app.RepositoryKey, digest app.Digest) {
	now := r.Now()
	r.leases.add(app.BlobKey{Repository: key, Digest: digest}, now.Add(r.Grace), now)
}
