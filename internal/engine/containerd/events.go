package containerd

import (
	"context"
	"sync"

	eventtypes "github.com/containerd/containerd/api/events"
	"github.com/containerd/containerd/v2/core/events"
	"github.com/containerd/typeurl/v2"

	"github.com/funade/funade/internal/app"
)

// hints fans changes out to whoever listens. A full listener misses hints, which is
// allowed: it looks every few seconds anyway.
type hints struct {
	mu        sync.Mutex
	listeners map[chan app.InstanceID]struct{}
}

func (h *hints) add(ctx context.Context) chan app.InstanceID {
	ch := make(chan app.InstanceID, 256)
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.listeners == nil {
		h.listeners = map[chan app.InstanceID]struct{}{}
	}
	h.listeners[ch] = struct{}{}
	context.AfterFunc(ctx, func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		delete(h.listeners, ch)
	})
	return ch
}

func (h *hints) send(id app.InstanceID) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for ch := range h.listeners {
		select {
		case ch <- id:
		default:
		}
	}
}

// Events yields a hint after each change of an instance.
func (e *Engine) Events(ctx context.Context) <-chan app.InstanceID { return e.hints.add(ctx) }

// forward turns containerd's events into hints until the engine closes.
func (e *Engine) forward(in <-chan *events.Envelope, errs <-chan error) {
	for {
		select {
		case envelope := <-in:
			if id := eventInstance(envelope); id != "" {
				e.hints.send(id)
			}
		case err := <-errs:
			if e.base.Err() == nil && err != nil {
				e.cfg.Log.Warn("containerd's events ended", "error", err)
			}
			return
		case <-e.base.Done():
			return
		}
	}
}

func eventInstance(envelope *events.Envelope) app.InstanceID {
	if envelope == nil || envelope.Event == nil {
		return ""
	}
	value, err := typeurl.UnmarshalAny(envelope.Event)
	if err != nil {
		return ""
	}
	switch event := value.(type) {
	case *eventtypes.TaskStart:
		return app.InstanceID(event.ContainerID)
	case *eventtypes.TaskExit:
		return app.InstanceID(event.ContainerID)
	case *eventtypes.TaskOOM:
		return app.InstanceID(event.ContainerID)
	case *eventtypes.TaskDelete:
		return app.InstanceID(event.ContainerID)
	}
	return ""
}
