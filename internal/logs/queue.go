package logs

import (
	"context"
	"fmt"
	"sync"

	"github.com/funade/funade/internal/app"
)

// queue holds the changes that wait for the committer, at most queueBytes of them.
type queue struct {
	mu     sync.Mutex
	ops    []*op
	bytes  int
	closed bool
	// ready has a token while ops or closed want attention; room is closed and replaced when space appears.
	ready chan struct{}
	room  chan struct{}
}

func (q *queue) init() {
	q.ready = make(chan struct{}, 1)
	q.room = make(chan struct{})
}

func (q *queue) push(ctx context.Context, o *op) error {
	for {
		q.mu.Lock()
		if q.closed {
			q.mu.Unlock()
			return &app.Error{Kind: app.KindUnavailable, Message: "cannot store log events: " + errClosed.Error(), Err: errClosed}
		}
		if q.bytes == 0 || q.bytes+o.size <= queueBytes {
			q.ops = append(q.ops, o)
			q.bytes += o.size
			q.mu.Unlock()
			q.wake()
			return nil
		}
		room := q.room
		q.mu.Unlock()
		select {
		case <-room:
		case <-ctx.Done():
			return fmt.Errorf("cannot store log events: %w", ctx.Err())
		}
	}
}

// take empties the queue.
func (q *queue) take() (ops []*op, closed bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	ops = q.ops
	q.ops, q.bytes = nil, 0
	close(q.room)
	q.room = make(chan struct{})
	return ops, q.closed
}

// close refuses further changes; false = it was closed before.
func (q *queue) close() bool {
	q.mu.Lock()
	first := !q.closed
	q.closed = true
	q.mu.Unlock()
	q.wake()
	return first
}

func (q *queue) wake() {
	select {
	case q.ready <- struct{}{}:
	default:
	}
}
