package converge

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func TestLoopWakesBacksOffAndEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		poke, begin := NewPoke(), time.Now()
		var mu sync.Mutex // guards begin, at and failing
		var at []time.Duration
		failing := false
		done := make(chan struct{})
		defer func() { cancel(); <-done }()
		go func() {
			defer close(done)
			Loop(ctx, "test", func() []<-chan struct{} { return []<-chan struct{}{poke} }, 10*time.Second, func(context.Context) error {
				mu.Lock()
				defer mu.Unlock()
				at = append(at, time.Since(begin))
				if failing {
					return errors.New("no luck")
				}
				return nil
			})
		}()
		expect := func(what string, want ...time.Duration) {
			t.Helper()
			synctest.Wait()
			mu.Lock()
			defer mu.Unlock()
			if !slices.Equal(at, want) {
				t.Errorf("%s: passes at %v, want %v", what, at, want)
			}
			at, begin = nil, time.Now()
		}
		<-time.After(time.Second)
		expect("at once", 0)
		poke.Set()
		expect("when poked", 0)
		<-time.After(21 * time.Second)
		expect("every period", 10*time.Second, 20*time.Second)
		mu.Lock()
		failing = true
		mu.Unlock()
		poke.Set()
		<-time.After(1600 * time.Millisecond)
		const ms = time.Millisecond
		expect("back-off", 0, 100*ms, 300*ms, 700*ms, 1500*ms)
		poke.Set()
		<-time.After(time.Minute)
		synctest.Wait()
		mu.Lock()
		defer mu.Unlock()
		if last := at[len(at)-1] - at[len(at)-2]; last != lastRetry {
			t.Errorf("the longest back-off is %v, want %v", last, lastRetry)
		}
	})
}

func TestPokesAreOne(t *testing.T) {
	poke := NewPoke()
	for range 3 {
		poke.Set()
	}
	if <-poke; len(poke) != 0 {
		t.Error("a poke was not taken up by the one before")
	}
}

func TestRepeatDoesNotAddUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		poke := NewPoke()
		r := &repeat{poke: poke, pause: time.Second}
		for range 5 {
			r.later()
		}
		begin := time.Now()
		<-poke
		if took := time.Since(begin); took != time.Second {
			t.Errorf("it came after %v", took)
		}
		select {
		case <-poke:
			t.Error("it came twice")
		case <-time.After(time.Minute):
		}
	})
}
