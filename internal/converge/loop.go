// Package converge is the only code that touches the world. Each converger compares
// desired rows with what the world reports, acts on the difference and writes observed
// rows. An event is only a hint to look: passes also run every few seconds and again,
// with back-off, after every failure.
package converge

import (
	"context"
	"log/slog"
	"reflect"
	"sync/atomic"
	"time"

	"github.com/funade/funade/internal/base/backoff"
)

// The pauses after failed passes.
const (
	firstRetry = 100 * time.Millisecond
	lastRetry  = 5 * time.Second
)

// Loop runs pass at once, then whenever a channel of wake fires, every period, and with back-off after an
// error, until ctx ends. wake is called before each pass, so that a change during the pass is not missed.
func Loop(ctx context.Context, name string, wake func() []<-chan struct{}, every time.Duration, pass func(context.Context) error) {
	failures := 0
	for ctx.Err() == nil {
		woken := wake()
		pause := every
		if err := pass(ctx); err != nil && ctx.Err() == nil {
			failures++
			pause = backoff.Delay(failures, firstRetry, lastRetry)
			slog.Warn("pass failed", "converger", name, "retry_in", pause, "error", err)
		} else {
			failures = 0
		}
		wait(ctx, woken, pause)
	}
}

// wait returns when ctx ends, a channel fires or the pause is over.
func wait(ctx context.Context, channels []<-chan struct{}, pause time.Duration) {
	timer := time.NewTimer(pause)
	defer timer.Stop()
	cases := []reflect.SelectCase{
		{Dir: reflect.SelectRecv, Chan: reflect.ValueOf(ctx.Done())},
		{Dir: reflect.SelectRecv, Chan: reflect.ValueOf(timer.C)},
	}
	for _, c := range channels {
		cases = append(cases, reflect.SelectCase{Dir: reflect.SelectRecv, Chan: reflect.ValueOf(c)})
	}
	reflect.Select(cases)
}

// Poke is a coalescing wake-up: any number of pokes between two looks are one.
type Poke chan struct{}

// NewPoke returns an unset poke.
func NewPoke() Poke { return make(Poke, 1) }

// Set wakes whoever waits, now or at its next look.
func (p Poke) Set() {
	select {
	case p <- struct{}{}:
	default:
	}
}

// repeat sets a poke once every pause at most: while one is due, asking again changes nothing. So a pass may ask
// to be repeated without the repetitions adding up.
type repeat struct {
	poke  Poke
	pause time.Duration
	due   atomic.Bool
}

// later sets the poke after the pause.
func (r *repeat) later() {
	if r.due.CompareAndSwap(false, true) {
		time.AfterFunc(r.pause, func() {
			r.due.Store(false)
			r.poke.Set()
		})
	}
}
