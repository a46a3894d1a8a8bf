package linux

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"sync"

	"golang.org/x/sys/unix"
)

// inNamespace runs f on a thread of its own that is inside the network namespace and ends
// with f: a thread that changed its namespace never returns to Go's scheduler.
func inNamespace(ns *os.File, f func() error) error {
	return onThread(func() error {
		if err := unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("cannot enter network namespace %s: %w", ns.Name(), err)
		}
		return f()
	})
}

// onThread runs f on a new thread that ends with it.
func onThread(f func() error) error {
	done := make(chan error, 1)
	onOwnThread(func() { done <- f() })
	return <-done
}

// onOwnThread starts f on a thread that ends with it. That is never the process's first thread: it cannot end, and would
// keep the namespace that f enters for as long as the process lives.
func onOwnThread(f func()) {
	go func() {
		runtime.LockOSThread()
		if unix.Gettid() == unix.Getpid() {
			taken := make(chan struct{})
			onOwnThread(func() { // elsewhere, as this thread is locked
				close(taken)
				f()
			})
			<-taken
			runtime.UnlockOSThread()
			return
		}
		f() // never unlocked: the thread dies with the goroutine
	}()
}

// pool keeps threads inside one network namespace, for what needs no more than a socket there.
type pool struct {
	work chan func()
	stop chan struct{}
	wg   sync.WaitGroup
}

const poolThreads = 4

var errClosed = errors.New("the data plane is closed")

func newPool(ns *os.File) (*pool, error) {
	p := &pool{work: make(chan func()), stop: make(chan struct{})}
	entered := make(chan error, poolThreads)
	for range poolThreads {
		p.wg.Add(1)
		onOwnThread(func() { p.run(ns, entered) })
	}
	var failed error
	for range poolThreads {
		failed = errors.Join(failed, <-entered)
	}
	if failed != nil {
		p.close()
		return nil, failed
	}
	return p, nil
}

func (p *pool) run(ns *os.File, entered chan<- error) {
	defer p.wg.Done()
	if err := unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET); err != nil {
		entered <- fmt.Errorf("cannot enter network namespace %s: %w", ns.Name(), err)
		return
	}
	entered <- nil
	for {
		select {
		case f := <-p.work:
			f()
		case <-p.stop:
			return
		}
	}
}

// do runs f, which must not block, on one of the threads.
func (p *pool) do(ctx context.Context, f func() error) error {
	done := make(chan error, 1)
	select {
	case p.work <- func() { done <- f() }:
		return <-done
	case <-p.stop:
		return errClosed
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (p *pool) close() {
	close(p.stop)
	p.wg.Wait()
}
