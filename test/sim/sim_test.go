package sim

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/funade/funade/internal/app"
	"github.com/funade/funade/internal/base/failpoint"
	"github.com/funade/funade/internal/store"
)

var (
	seeds = flag.Int("seeds", 12, "number of seeds to run")
	first = flag.Int("first", 1, "first seed")
	one   = flag.Int("seed", 0, "run this seed only")
	step  = flag.Int("step", 0, "run every step-th seed, in this process")
)

func init() {
	// make sim SEEDS=n
	if n, err := strconv.Atoi(os.Getenv("FUNADE_SIM_SEEDS")); err == nil && n > 0 {
		*seeds = n
	}
}

// crashed is what a crash panics with.
type crashed struct{ at string }

// run is one seed's simulation.
type run struct {
	*world
	server   *server
	path     string
	random   *rand.ChaCha8
	hits     int // failpoint hits until the crash; 0 = none planned
	crashes  int
	gentle   bool // no crashes and no disturbances: service has to be without a break
	checks   checks
	behaving map[app.Digest]string
}

// TestSim runs the seeds, spread over processes because failpoints are the process's.
func TestSim(t *testing.T) {
	switch {
	case *one != 0:
		simulate(t, uint64(*one), map[string]int{})
		return
	case *step != 0:
		outcomes := map[string]int{}
		runs := 0
		for seed := *first; seed < *first+*seeds && !t.Failed(); seed += *step {
			simulate(t, uint64(seed), outcomes)
			runs++
		}
		covered(t, runs, outcomes)
		return
	}
	var wg sync.WaitGroup
	for n := range min(runtime.GOMAXPROCS(0), *seeds) {
		wg.Add(1)
		go func() {
			defer wg.Done()
			cmd := exec.Command(os.Args[0], "-test.run=^TestSim$", "-test.timeout=10m", "-seeds", fmt.Sprint(*seeds-n),
				"-first", fmt.Sprint(*first+n), "-step", fmt.Sprint(runtime.GOMAXPROCS(0)))
			cmd.Env = append(os.Environ(), "FUNADE_SIM_SEEDS=")
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("%v\n%s", err, out)
			}
		}()
	}
	wg.Wait()
}

// fullSubnet counts operations that failed because no address was free.
const fullSubnet = "a subnet was full"

// covered fails when many runs together never saw an outcome that the checks are there for.
func covered(t *testing.T, runs int, outcomes map[string]int) {
	t.Logf("%d runs: %v", runs, outcomes)
	if runs < 100 {
		return
	}
	for _, want := range []string{
		"CREATE_SERVICE SUCCEEDED", "CREATE_SERVICE FAILED", "UPDATE_SERVICE SUCCEEDED", "UPDATE_SERVICE FAILED",
		"UPDATE_SERVICE ROLLBACK_SUCCEEDED", "START_DEPLOYMENT SUCCEEDED", "START_DEPLOYMENT ROLLBACK_SUCCEEDED",
		"PAUSE_SERVICE SUCCEEDED", "RESUME_SERVICE SUCCEEDED", "DELETE_SERVICE SUCCEEDED", fullSubnet,
	} {
		if outcomes[want] == 0 {
			t.Errorf("%d runs never ended with %s: %v", runs, want, outcomes)
		}
	}
}

// tempDir is in memory where there is a place for that.
func tempDir(t *testing.T) string {
	if dir, err := os.MkdirTemp("/dev/shm", "funade-sim-"); err == nil {
		t.Cleanup(func() { _ = os.RemoveAll(dir) })
		return dir
	}
	return t.TempDir()
}

func simulate(t *testing.T, seed uint64, outcomes map[string]int) {
	t.Helper()
	var key [32]byte
	key[0], key[1], key[2], key[3] = byte(seed), byte(seed>>8), byte(seed>>16), byte(seed>>24)
	r := &run{
		world: newWorld(seed), path: filepath.Join(tempDir(t), "state.db"), random: rand.NewChaCha8(key),
		gentle: seed%4 == 0, behaving: map[app.Digest]string{}, checks: newChecks(),
	}
	defer func() {
		if p := recover(); p != nil {
			t.Fatalf("seed %d: %v\n%s\n%s", seed, p, r.tail(), stack())
		}
	}()
	r.boot()
	defer func() { _ = r.server.store.Close() }()
	defer r.arm()()
	for range 60 {
		r.turn()
	}
	defer func() {
		for _, op := range r.checks.ended {
			outcomes[string(op.Type)+" "+string(op.Status)]++
			if strings.Contains(op.Reason, "no address is free") {
				outcomes[fullSubnet]++
			}
		}
	}()
	r.hits, r.quiet = 0, true
	if err := r.calm(); err != nil {
		t.Fatalf("seed %d: %v\n%s", seed, err, r.tail())
	}
}

func stack() string {
	buf := make([]byte, 16<<10)
	return string(buf[:runtime.Stack(buf, false)])
}

// boot starts the server on what is on the disk.
func (r *run) boot() {
	s, err := startServer(r.world, r.path, r.random)
	if err != nil {
		panic(err)
	}
	s.behaviours = r.behaving
	r.server = s
	s.furnish()
	s.remember()
}

// arm makes every commit and every effect a place where the server may crash.
func (r *run) arm() (disarm func()) {
	var undo []func()
	for _, name := range []string{"store/before-commit", "store/after-commit", "sim/effect"} {
		undo = append(undo, failpoint.Enable(name, func() error {
			if r.hits == 0 {
				return nil
			}
			if r.hits--; r.hits == 0 {
				panic(crashed{name})
			}
			return nil
		}))
	}
	return func() {
		for _, u := range undo {
			u()
		}
	}
}

// guarded runs something that may crash the server, and boots it again after a crash.
func (r *run) guarded(do func()) {
	defer func() {
		switch p := recover().(type) {
		case nil:
		case crashed:
			r.tell("crash at %s", p.at)
			r.crashes++
			if err := r.server.store.Close(); err != nil {
				panic(err)
			}
			r.boot()
		default:
			panic(p)
		}
	}()
	do()
}

// turn is some time, perhaps a call or a misfortune, and some passes in random order.
func (r *run) turn() {
	r.now = r.now.Add(time.Duration(r.rnd.IntN(4000)) * time.Millisecond)
	if r.chance(10) {
		r.now = r.now.Add(time.Duration(r.rnd.IntN(200)) * time.Second)
	}
	if !r.gentle && r.hits == 0 && r.chance(25) {
		r.hits = 1 + r.rnd.IntN(12)
	}
	if r.chance(45) {
		r.guarded(func() {
			name, err := r.server.call()
			r.tell("%s: %v", name, err)
			switch app.KindOf(err) {
			case app.KindInternal, app.KindUnavailable:
				if err != nil {
					panic(err)
				}
			}
		})
	}
	if !r.gentle && r.chance(8) {
		r.disturb()
	}
	r.passes(1 + r.rnd.IntN(3))
}

// passes runs every part some times, in random order.
func (r *run) passes(times int) {
	for range times {
		r.now = r.now.Add(300 * time.Millisecond)
		parts := r.server.parts()
		for _, n := range r.rnd.Perm(len(parts)) {
			r.pass()
			r.guarded(func() { r.server.parts()[n]() })
			r.checks.always(r)
		}
	}
}

// calm lets time pass until nothing is left to do, and checks.
func (r *run) calm() error {
	r.tell("calm")
	// After it has settled once around: the keeper may have had to replace instances that nobody wanted any more, and an
	// address that came free with the last of them lets another instance begin.
	const patience, around = 400, 8
	quiet := 0
	for n := range patience {
		r.now = r.now.Add(3 * time.Second)
		r.passes(1)
		quiet++
		if n <= 5 || !r.settled() {
			quiet = 0
		}
		if quiet > around {
			break
		}
	}
	if problems := r.checks.final(r); len(problems) > 0 {
		slices.Sort(problems)
		return fmt.Errorf("after %d crashes:\n%s", r.crashes, strings.Join(problems, "\n"))
	}
	return errors.Join(r.clear(), r.server.store.Verify())
}

// clear deletes every service and checks that nothing is left.
func (r *run) clear() error {
	var arns []string
	r.server.view(func(tx *store.Tx) {
		for svc := range store.ServicesByScope.Each(tx, scope) {
			arns = append(arns, svc.ARN())
		}
	})
	for _, arn := range arns {
		if _, _, err := r.server.control.DeleteService(context.Background(), scope, arn); err != nil {
			return err
		}
	}
	for range 60 {
		r.now = r.now.Add(3 * time.Second)
		r.passes(1)
		if len(r.checks.cleared(r)) == 0 {
			return nil
		}
	}
	problems := r.checks.cleared(r)
	slices.Sort(problems)
	return fmt.Errorf("with every service deleted:\n%s", strings.Join(problems, "\n"))
}

// settled reports whether no operation is in flight, no instance is on its way and every service has its strength.
func (r *run) settled() bool {
	settled := true
	r.server.view(func(tx *store.Tx) {
		_, busy := store.OperationsInFlight.First(tx, struct{}{})
		settled = !busy
		for i := range store.Instances.All(tx) {
			h, _ := store.InstanceHealths.Get(tx, i.ID)
			settled = settled && i.Goal == app.GoalRun && h.Healthy
		}
	})
	return settled
}
