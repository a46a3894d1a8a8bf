package operation

import (
	"strings"
	"testing"
	"time"

	"github.com/funade/funade/internal/app"
)

func TestJudge(t *testing.T) {
	now := time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
	config := app.ServiceConfig{
		Source: app.Source{Port: 8080}, Instance: app.InstanceConfig{Memory: 512},
		HealthCheck: app.HealthCheck{Protocol: "HTTP", Path: "/ok", Timeout: 2},
	}
	status := func(s app.InstanceStatus) Candidate { return Candidate{Status: s} }
	healthy := Candidate{Status: app.InstanceStatus{Phase: app.PhaseRunning}, Health: app.InstanceHealth{Healthy: true, EverHealthy: true}}
	answer := func(a string) Candidate {
		return Candidate{Status: app.InstanceStatus{Phase: app.PhaseRunning}, Health: app.InstanceHealth{Answer: a}}
	}
	ports := func(since time.Time) Candidate {
		c := answer("connection refused")
		c.Health.OtherPorts, c.Health.OtherPortsSince = []int{3000, 9090}, since
		return c
	}
	exits := func(n, code int, lines ...string) Candidate {
		return status(app.InstanceStatus{Phase: app.PhaseExited, Exits: n, ExitCode: code, LastLines: lines})
	}
	oom := exits(3, 137)
	oom.Status.OOMKilled, oom.Status.Reason = true, "it used more than its 512 MiB of memory and was killed"
	for _, c := range []struct {
		name  string
		have  []Candidate
		want  int
		after time.Duration // since the start, of 300 s
		ready bool
		texts []string // of the failure; none = no failure
	}{
		{"ready", []Candidate{healthy, healthy}, 2, 0, true, nil},
		{"one of two", []Candidate{healthy, answer("connection refused")}, 2, 0, false, nil},
		{"ready at the last moment", []Candidate{healthy}, 1, 300 * time.Second, true, nil},
		{"two ends", []Candidate{exits(2, 1)}, 1, 0, false, nil},
		{"three ends", []Candidate{exits(3, 2, "a", "b", "c", "d", "e", "f")}, 1, 0, false,
			[]string{"ended 3 times in a row, exit code 2", "Last lines: b | c | d | e | f"}},
		{"a healthy one does not excuse a crashing one", []Candidate{healthy, exits(3, 2)}, 2, 0, false, []string{"exit code 2"}},
		{"memory", []Candidate{oom}, 1, 0, false, []string{"killed for lack of memory", "more than its 512 MiB", "larger Memory"}},
		{"architecture", []Candidate{exits(3, 255, "exec /app: exec format error")}, 1, 0, false, []string{"another CPU architecture"}},
		{"no command", []Candidate{exits(3, 127)}, 1, 0, false, []string{"does not exist in the image", "StartCommand"}},
		{"not executable", []Candidate{exits(3, 126)}, 1, 0, false, []string{"not executable"}},
		{"ends well", []Candidate{exits(3, 0)}, 1, 0, false, []string{"stay in the foreground"}},
		{"unknown code", []Candidate{exits(3, -1)}, 1, 0, false, []string{"exit code unknown"}},
		{"cannot start", []Candidate{status(app.InstanceStatus{Phase: app.PhaseFailed, Reason: "stat /run: no such file or directory"})}, 1, 0, false,
			[]string{"cannot be started: stat /run", "does not exist in the image"}},
		{"cannot start, as the engine says with a remedy", []Candidate{status(app.InstanceStatus{Phase: app.PhaseFailed, Reason: "the command \"/x\" does not exist in the image (executable file not found); check ENTRYPOINT, CMD and StartCommand"})}, 1, 0, false,
			[]string{"check ENTRYPOINT, CMD and StartCommand."}},
		{"cannot start for lack of a mode", []Candidate{status(app.InstanceStatus{Phase: app.PhaseFailed, Reason: "exec: permission denied"})}, 1, 0, false, []string{"chmod +x"}},
		{"other ports, early", []Candidate{ports(now.Add(-9 * time.Second))}, 1, 0, false, nil},
		{"other ports", []Candidate{ports(now.Add(-10 * time.Second))}, 1, 0, false,
			[]string{"Nothing listens on port 8080, but the application listens on ports 3000, 9090.", "Set Port to 3000"}},
		{"path refused", []Candidate{answer("GET /ok answered 401")}, 1, 300 * time.Second, false,
			[]string{"0 of 1 instances became healthy in time.", "GET /ok answered 401.", `the health check path "/ok" is refused`}},
		{"nothing listens", []Candidate{answer("connection refused")}, 1, 300 * time.Second, false, []string{"Nothing listens on port 8080", "0.0.0.0"}},
		{"slow answer", []Candidate{answer("no answer within 2 s")}, 1, 300 * time.Second, false, []string{"within 2 s", "raise the health check's Timeout"}},
		{"never started", []Candidate{status(app.InstanceStatus{Reason: "the disk is full"})}, 1, 300 * time.Second, false, []string{"The instance did not start. The disk is full."}},
		{"no network", []Candidate{{Network: app.InterfaceStatus{Index: -1, Error: "all 4080 addresses of this install's managed range are in use"}}}, 1, 300 * time.Second, false, []string{"The instance did not start. All 4080 addresses"}},
		{"nothing at all", nil, 1, 300 * time.Second, false, []string{"0 of 1"}},
	} {
		out := Judge(c.have, c.want, config, now, now.Add(300*time.Second-c.after))
		if out.Ready != c.ready || (out.Failure != nil) != (len(c.texts) > 0) {
			t.Errorf("%s: ready %v, failure %+v", c.name, out.Ready, out.Failure)
			continue
		}
		for _, once := range []string{"more than its", "does not exist in the image"} {
			if len(c.texts) > 0 && strings.Count(out.Failure.Reason, once) > 1 {
				t.Errorf("%s: %q says %q twice", c.name, out.Failure.Reason, once)
			}
		}
		for _, text := range c.texts {
			if !strings.Contains(out.Failure.Reason, text) {
				t.Errorf("%s: %q lacks %q", c.name, out.Failure.Reason, text)
			}
		}
		if !out.Ready && out.Failure == nil && !out.Wake.After(now) {
			t.Errorf("%s: wakes at %v, which is not later", c.name, out.Wake)
		}
	}
}

func TestDrainedAt(t *testing.T) {
	begin := time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
	const timeout = time.Minute
	i := app.Instance{ID: "i", Goal: app.GoalDrain, DrainUntil: begin.Add(timeout)}
	running := app.InstanceStatus{Phase: app.PhaseRunning}
	for _, c := range []struct {
		name   string
		status app.InstanceStatus
		route  app.RouteStatus
		want   time.Duration
	}{
		{"ended already", app.InstanceStatus{Phase: app.PhaseExited}, app.RouteStatus{}, 0},
		{"idle", running, app.RouteStatus{}, minDrain},
		{"busy", running, app.RouteStatus{Busy: []app.InstanceID{"i"}}, timeout},
		{"still a target", running, app.RouteStatus{Targets: []app.InstanceID{"i"}}, timeout},
	} {
		if got := drainedAt(i, timeout, c.status, c.route).Sub(begin); got != c.want {
			t.Errorf("%s: stopped after %v, want %v", c.name, got, c.want)
		}
	}
}
