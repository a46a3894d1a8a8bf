package linux

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/funade/funade/internal/vpc"
)

// 500 interfaces come, exchange packets and go: several data planes at once, each in its own order, since the kernel takes
// most of the time by waiting.
func TestManyInterfacesInVPCsLeaveNothing(t *testing.T) {
	const planes, rounds, each = 10, 5, 10
	before := countResources(t)
	var configs []Config
	for range planes {
		configs = append(configs, freshConfig(t))
	}
	var wg sync.WaitGroup
	for n, c := range configs {
		wg.Go(func() {
			d := openPlane(t, c)
			p := newPlan(n)
			p.group('c', icmpFrom('c'), everything())
			var rows []vpc.Interface
			for k := range each {
				row := p.port(k, netip.AddrFrom4([4]byte{192, 168, 1, byte(10 + k)}).String(), 'c')
				if k%5 == 0 && os.Getenv(privateEnv) == "root" {
					row.UIDBase = 300000
				}
				rows = append(rows, row)
			}
			state := func() []string { return kernelState(t, d.names) }
			empty := state()
			program(t, d, p)
			programmed, held := state(), countLinks(d)
			for round := range rounds {
				comeAndGo(t, d, rows, uint64(n*rounds+round))
			}
			expectState(t, "after all interfaces went", programmed, state)
			if got := countLinks(d); got != held {
				t.Errorf("%d links are known, %d were", got, held)
			}
			program(t, d)
			expectState(t, "after the VPC went", empty, state)
			d.Close()
		})
	}
	wg.Wait()
	expectResources(t, before)
}

// countLinks counts what the data plane remembers of interfaces.
func countLinks(d *Dataplane) (n int) {
	for _, r := range d.routers {
		n += len(r.links) + len(r.routes.neighbours) + len(r.routes.routes)
	}
	return n + len(*d.attached.Load())
}

// comeAndGo attaches rows, lets packets pass by both of their interfaces, and detaches them in another order.
func comeAndGo(t *testing.T, d *Dataplane, rows []vpc.Interface, seed uint64) {
	r := rand.New(rand.NewPCG(seed, 3))
	var last vpc.Attachment
	for _, k := range r.Perm(len(rows)) {
		a, err := d.Attach(t.Context(), rows[k])
		if err != nil {
			t.Error(err)
			return
		}
		if _, err := d.Dial(t.Context(), a.ID, netip.AddrPortFrom(a.Address, 9)); !errors.Is(err, unix.ECONNREFUSED) {
			t.Errorf("the router's call of %v: %v, want a refusal", a.Address, err)
		}
		last = a
	}
	if err := inside(t, last, func() error {
		for _, row := range rows {
			if got := pingOnce(row.ENIs[0].Addresses[0]); got != answered {
				return fmt.Errorf("ping of %v: %s", row.ENIs[0].Addresses[0], got)
			}
		}
		return nil
	}); err != nil {
		t.Error(err)
	}
	for _, k := range r.Perm(len(rows)) {
		if err := d.Detach(t.Context(), rows[k].ID); err != nil {
			t.Error(err)
		}
	}
}

// The process's first thread cannot end. It enters no namespace, as it would keep that one, and /proc/self/net would lie.
func TestTheFirstThreadStaysAtHome(t *testing.T) {
	const threads = 64
	d := openPlane(t, freshConfig(t))
	home, err := os.Readlink("/proc/thread-self/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	var first atomic.Int32
	for range 50 {
		var wg, locked sync.WaitGroup
		locked.Add(threads)
		for range threads { // each needs a thread of its own, so the first one is among them
			wg.Go(func() {
				runtime.LockOSThread()
				locked.Done()
				locked.Wait()
				runtime.UnlockOSThread()
				if unix.Gettid() != unix.Getpid() {
					return
				}
				first.Add(1)
				if err := inNamespace(d.mgmtNS, func() error { return nil }); err != nil { // begins on this thread
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if at, err := os.Readlink("/proc/self/ns/net"); at != home || err != nil {
			t.Fatalf("the first thread is in %s, %v, want %s", at, err, home)
		}
	}
	if first.Load() == 0 {
		t.Skip("another goroutine kept the first thread all the time, which happens in one run of five")
	}
}
