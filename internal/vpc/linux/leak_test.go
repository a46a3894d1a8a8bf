package linux

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"sync"
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

// A process with one processor, whose first goroutine is on its first thread, enters the namespace at this path.
const firstThreadEnv = "FUNADE_TEST_FIRST_THREAD"

func init() {
	if os.Getenv(firstThreadEnv) != "" {
		runtime.LockOSThread() // until TestMain lets go
	}
}

// onFirstThread is what that process does.
func onFirstThread() error {
	ns, err := os.Open(os.Getenv(firstThreadEnv))
	if err != nil {
		return err
	}
	home, err := os.Readlink("/proc/self/ns/net")
	if err != nil {
		return err
	}
	runtime.UnlockOSThread()
	began := make(chan int)
	go func() { began <- unix.Gettid() }()
	if <-began != unix.Getpid() {
		return errors.New("goroutines do not begin on the first thread, so the test proves nothing")
	}
	entered := ""
	if err := inNamespace(ns, func() (err error) {
		entered, err = os.Readlink("/proc/thread-self/ns/net")
		return err
	}); err != nil {
		return err
	}
	if at, err := os.Readlink("/proc/self/ns/net"); at != home || entered == home || err != nil {
		return fmt.Errorf("the first thread is in %s, %v; want %s, and another one in %s", at, err, home, entered)
	}
	return nil
}

// The process's first thread cannot end. It enters no namespace, as it would keep that one, and /proc/self/net would lie.
func TestTheFirstThreadStaysAtHome(t *testing.T) {
	d := openPlane(t, freshConfig(t))
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), firstThreadEnv+"="+d.mgmtNS.Name(), "GOMAXPROCS=1")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, out)
	}
}
