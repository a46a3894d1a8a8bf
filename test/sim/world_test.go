package sim

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/funade/funade/internal/app"
	"github.com/funade/funade/internal/base/failpoint"
)

// world is what outlives the server: containers, network namespaces, the log store, the clock.
type world struct {
	rnd        *rand.Rand
	now        time.Time
	containers map[app.InstanceID]*container
	networks   map[app.InterfaceID]bool
	shipped    []int64
	// connectors: services may go out through a VPC.
	connectors bool
	// quiet: applications do as they should from now on.
	quiet bool
	story []string
}

type container struct {
	digest app.Digest
	// behave says what the application does; it hangs on the image.
	behave   string
	running  bool
	exitCode int
	started  time.Time
	stopping time.Time // when a removal that is under way ends; zero = none
	// illUntil is the end of a period in which a fickle application answers no health checks.
	illUntil time.Time
}

func newWorld(seed uint64) *world {
	return &world{
		rnd: rand.New(rand.NewPCG(seed, 0xf00d)), now: time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC),
		containers: map[app.InstanceID]*container{}, networks: map[app.InterfaceID]bool{}, connectors: seed%3 != 0,
	}
}

func (w *world) tell(format string, args ...any) {
	w.story = append(w.story, w.now.Format("15:04:05.000 ")+fmt.Sprintf(format, args...))
}

func (w *world) chance(percent int) bool { return w.rnd.IntN(100) < percent }

// effect is the seam before and after each change of the world.
func effect(do func()) {
	_ = failpoint.Hit("sim/effect")
	do()
	_ = failpoint.Hit("sim/effect")
}

// start runs a container.
func (w *world) start(id app.InstanceID, digest app.Digest, behave string) {
	c := w.containers[id]
	if c == nil {
		c = &container{}
		w.containers[id] = c
	}
	c.digest, c.behave, c.running, c.started = digest, behave, true, w.now
	w.tell("start %.6s (%s)", id, behave)
}

// pass lets time act on the containers.
func (w *world) pass() {
	for _, id := range slices.Sorted(maps.Keys(w.containers)) {
		c := w.containers[id]
		age := w.now.Sub(c.started)
		switch {
		case !c.stopping.IsZero() && !w.now.Before(c.stopping):
			delete(w.containers, id)
			w.tell("removed %.6s", id)
		case c.running && c.behave == "crash" && age > 200*time.Millisecond:
			c.running, c.exitCode = false, 1
		case c.running && !w.quiet && c.behave == "fickle" && w.chance(1):
			c.illUntil = w.now.Add(time.Duration(w.rnd.IntN(60)) * time.Second)
		}
	}
}

// stopTime is how long the removal of a container takes; sometimes it hangs for minutes.
func (w *world) stopTime() time.Duration {
	if !w.quiet && w.chance(5) {
		return 400 * time.Second
	}
	return time.Duration(w.rnd.IntN(30)) * time.Second
}

// healthy is what a probe finds.
func (w *world) healthy(c *container) (ok bool, answer string) {
	age := w.now.Sub(c.started)
	switch {
	case !c.running:
		return false, "connection refused"
	case c.behave == "deaf":
		return false, "GET / answered 401"
	case c.behave == "slow" && age < 100*time.Second, age < 500*time.Millisecond, w.now.Before(c.illUntil):
		return false, "connection refused"
	case c.behave == "port":
		return false, "connection refused"
	}
	return true, ""
}

// disturb lets something bad happen outside the server.
func (w *world) disturb() {
	ids := slices.Sorted(maps.Keys(w.containers))
	switch {
	case len(ids) > 0 && w.chance(70):
		id := ids[w.rnd.IntN(len(ids))]
		w.containers[id].running, w.containers[id].exitCode = false, 137
		w.tell("killed %.6s", id)
	case w.chance(50):
		w.networks = map[app.InterfaceID]bool{}
		w.tell("networks flushed")
	case w.chance(50):
		w.containers = map[app.InstanceID]*container{}
		w.networks = map[app.InterfaceID]bool{}
		w.tell("reboot")
	}
}

func (w *world) tail() string {
	return strings.Join(w.story[max(0, len(w.story)-120):], "\n")
}
