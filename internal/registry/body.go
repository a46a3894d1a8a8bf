package registry

import (
	"errors"
	"io"
	"net/http"
	"os"
	"sync"
	"time"
)

const (
	copyBuffer = 512 << 10
	// sendChunk is how much of a blob is sent under one write deadline of sendTime.
	sendChunk = 4 << 20
	sendTime  = 2 * time.Minute
)

var buffers = sync.Pool{New: func() any { b := make([]byte, copyBuffer); return &b }}

var (
	errSlow  = fail(http.StatusRequestTimeout, "BLOB_UPLOAD_INVALID", "the client sent its body too slowly: ask for the upload's status and resume")
	errShort = fail(http.StatusBadRequest, "SIZE_INVALID", "the request's body ended early: ask for the upload's status and resume")
	errLong  = fail(http.StatusBadRequest, "SIZE_INVALID", "the request's body is longer than its Content-Range says")
)

// pacedBody ends reads of clients that are silent for Idle or slower than MinRate on the whole.
type pacedBody struct {
	io.ReadCloser
	conn    *http.ResponseController
	limits  Limits
	started time.Time
	n       int64
	// mu orders deadlines with stopped.
	mu      sync.Mutex
	stopped bool
}

func paced(w http.ResponseWriter, req *http.Request, limits Limits) *pacedBody {
	return &pacedBody{ReadCloser: req.Body, conn: http.NewResponseController(w), limits: limits, started: time.Now()}
}

// stop makes the read in progress and all later ones fail.
func (p *pacedBody) stop() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.stopped = true
	_ = p.conn.SetReadDeadline(time.Unix(1, 0)) // not supported by test recorders, whose bodies never block
}

// arm sets the deadline of the next read.
func (p *pacedBody) arm(deadline time.Time) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.stopped {
		_ = p.conn.SetReadDeadline(deadline)
	}
	return !p.stopped
}

// Read reads under a deadline; deadlines are real time, because the kernel keeps them.
func (p *pacedBody) Read(b []byte) (int, error) {
	now := time.Now()
	deadline := p.started.Add(p.limits.Idle + time.Duration(float64(p.n)/float64(p.limits.MinRate)*float64(time.Second)))
	if idle := now.Add(p.limits.Idle); idle.Before(deadline) || p.n > 1<<40 {
		deadline = idle
	}
	if !now.Before(deadline) {
		return 0, errSlow
	}
	if !p.arm(deadline) {
		return 0, errShort
	}
	n, err := p.ReadCloser.Read(b)
	p.n += int64(n)
	var known *failure
	switch {
	case err == nil:
	case errors.Is(err, io.EOF):
		p.arm(time.Time{})
	case errors.Is(err, os.ErrDeadlineExceeded):
		err = errSlow
	case !errors.As(err, &known):
		err = errShort
	}
	return n, err
}

// send writes n bytes of content under deadlines that move with progress. Chunks go through io.CopyN, so that a file
// reaches the socket by sendfile.
func send(w http.ResponseWriter, content io.Reader, n int64) error {
	conn := http.NewResponseController(w)
	for n > 0 {
		_ = conn.SetWriteDeadline(time.Now().Add(sendTime)) // not supported by test recorders
		chunk := min(n, sendChunk)
		if _, err := io.CopyN(w, content, chunk); err != nil {
			return err
		}
		n -= chunk
	}
	_ = conn.SetWriteDeadline(time.Time{})
	return nil
}
