package operation

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/funade/funade/internal/app"
)

// The limits that end a start early (spec: fail on the third exit in a row, or when only other ports are open for 10 s).
const (
	maxExits       = 3
	otherPortsTime = 10 * time.Second
)

// Candidate is an instance that is to become healthy, desired and observed.
type Candidate struct {
	Instance app.Instance
	Status   app.InstanceStatus
	Health   app.InstanceHealth
	Network  app.InterfaceStatus
}

// Outcome says how far a set of candidates is.
type Outcome struct {
	// Ready: enough of them are healthy.
	Ready bool
	// Failure is why it will not get better; nil = it may.
	Failure *Failure
	// Wake is when time alone may change the outcome.
	Wake time.Time
}

// Failure is why a start failed.
type Failure struct {
	// Reason is everything known, in one line.
	Reason string
	// ExitCode is of an application that ended; nil when none did.
	ExitCode *int
}

// Judge decides whether candidates are healthy. want is how many must be; after deadline no more waiting.
func Judge(candidates []Candidate, want int, config app.ServiceConfig, now, deadline time.Time) Outcome {
	healthy := 0
	out := Outcome{Wake: deadline}
	for _, c := range candidates {
		if c.Health.Healthy && c.Status.Phase == app.PhaseRunning {
			healthy++
			continue
		}
		if f := c.failure(config, now); f != nil {
			return Outcome{Failure: f}
		}
		if c.onlyOtherPorts() {
			out.Wake = earlier(out.Wake, c.Health.OtherPortsSince.Add(otherPortsTime))
		}
	}
	if out.Ready = healthy >= want; out.Ready {
		return Outcome{Ready: true}
	}
	if !now.Before(deadline) {
		return Outcome{Failure: timedOut(candidates, config, healthy, want)}
	}
	return out
}

func (c Candidate) onlyOtherPorts() bool {
	return !c.Health.EverHealthy && len(c.Health.OtherPorts) > 0 && c.Status.Phase == app.PhaseRunning
}

func (c Candidate) failure(config app.ServiceConfig, now time.Time) *Failure {
	port := config.Source.Port
	switch {
	case c.Status.Phase == app.PhaseFailed:
		return &Failure{Reason: join("The instance cannot be started: "+sentence(c.Status.Reason), c.hint(config), c.lastLines())}
	case c.Status.Exits >= maxExits:
		code := c.Status.ExitCode
		text := fmt.Sprintf("The application ended %d times in a row%s.", c.Status.Exits, exitText(c.Status))
		return &Failure{Reason: join(text, stopReason(c.Status), c.hint(config), c.lastLines()), ExitCode: &code}
	case c.onlyOtherPorts() && !now.Before(c.Health.OtherPortsSince.Add(otherPortsTime)):
		ports := make([]string, len(c.Health.OtherPorts))
		for n, p := range c.Health.OtherPorts {
			ports[n] = strconv.Itoa(p)
		}
		text := fmt.Sprintf("Nothing listens on port %d, but the application listens on %s.", port, plural(ports, "port"))
		hint := fmt.Sprintf("Set Port to %s, or let the application listen on the port in the environment variable PORT.", ports[0])
		return &Failure{Reason: join(text, hint, c.lastLines())}
	}
	return nil
}

// End says in one line how an instance last ended and what to do about it.
func (c Candidate) End(config app.ServiceConfig) string {
	c.Status.Reason = c.Status.EndReason
	text := fmt.Sprintf("Instance %s ended%s.", c.Instance.ID, exitText(c.Status))
	return join(text, stopReason(c.Status), c.hint(config), c.lastLines())
}

func timedOut(candidates []Candidate, config app.ServiceConfig, healthy, want int) *Failure {
	f := &Failure{Reason: fmt.Sprintf("%d of %d instances became healthy in time.", healthy, want)}
	for _, c := range candidates {
		if c.Health.Healthy {
			continue
		}
		answer := ""
		if c.Health.Answer != "" {
			answer = "The last health check said: " + sentence(c.Health.Answer)
		}
		state := ""
		switch {
		case c.Status.Phase == app.PhaseExited || c.Status.Exits > 0:
			code := c.Status.ExitCode
			f.ExitCode = &code
			state = fmt.Sprintf("The application ended %s%s.", times(c.Status.Exits), exitText(c.Status))
		case c.Status.Phase != app.PhaseRunning:
			state = join("The instance did not start.", stopReason(c.Status), capital(c.Network.Error))
		}
		f.Reason = join(f.Reason, state, answer, c.hint(config), c.lastLines())
		return f
	}
	return f
}

// hint says what is probably wrong and what to do, "" when nothing is known.
func (c Candidate) hint(config app.ServiceConfig) string {
	text := strings.ToLower(c.Status.Reason + "\n" + strings.Join(c.Status.LastLines, "\n"))
	has := func(parts ...string) bool {
		return slices.ContainsFunc(parts, func(p string) bool { return strings.Contains(text, p) })
	}
	answer := strings.ToLower(c.Health.Answer)
	switch {
	case c.Status.OOMKilled:
		return fmt.Sprintf("It used more than its %d MiB of memory and was killed: choose a larger Memory or let it use less.", config.Instance.Memory)
	case has("exec format error"):
		return unlessSaid(text, "build the image for", "The program is for another CPU architecture: build the image for this machine's (docker build --platform).")
	case has("executable file not found", "no such file or directory") && c.Status.Phase == app.PhaseFailed, c.Status.ExitCode == 127 && c.Status.Exits > 0:
		return unlessSaid(text, "check entrypoint", "The command does not exist in the image: check StartCommand and the image's ENTRYPOINT and CMD.")
	case has("permission denied") && c.Status.Phase == app.PhaseFailed, c.Status.ExitCode == 126 && c.Status.Exits > 0:
		return unlessSaid(text, "make it executable", "The command is not executable: set its mode (chmod +x) in the image.")
	case c.Status.Exits > 0 && c.Status.ExitCode == 0:
		return "The application ended by itself; it has to stay in the foreground and serve requests."
	case answered4xx(answer):
		return fmt.Sprintf("The application runs, but the health check path %q is refused: name a path that answers 200 without credentials.", config.HealthCheck.Path)
	case strings.Contains(answer, "refused") && c.Status.Phase == app.PhaseRunning:
		return fmt.Sprintf("Nothing listens on port %d: check Port, and that the application listens on all addresses (0.0.0.0), not only on 127.0.0.1.", config.Source.Port)
	case strings.Contains(answer, "no answer within"):
		return fmt.Sprintf("It did not answer within %d s: let the path answer faster, or raise the health check's Timeout.", config.HealthCheck.Timeout)
	}
	return ""
}

// unlessSaid returns a hint, or "" where the engine's own words hold the remedy already.
func unlessSaid(text, remedy, hint string) string {
	if strings.Contains(text, remedy) {
		return ""
	}
	return hint
}

// answered4xx looks for " 4xx" in a probe's answer.
func answered4xx(answer string) bool {
	for _, word := range strings.FieldsFunc(answer, func(r rune) bool { return r == ' ' || r == ',' || r == '.' || r == ':' }) {
		if len(word) == 3 && word[0] == '4' && strings.Trim(word, "0123456789") == "" {
			return true
		}
	}
	return false
}

func exitText(s app.InstanceStatus) string {
	switch {
	case s.OOMKilled:
		return ", killed for lack of memory"
	case s.ExitCode < 0:
		return ", exit code unknown"
	}
	return fmt.Sprintf(", exit code %d", s.ExitCode)
}

// stopReason is the engine's word for an end, as a sentence; of memory the hint speaks.
func stopReason(s app.InstanceStatus) string {
	if s.OOMKilled {
		return ""
	}
	return capital(s.Reason)
}

// capital makes a report a sentence that stands alone; "" stays.
func capital(report string) string {
	if report == "" {
		return ""
	}
	text := sentence(report)
	first, size := utf8.DecodeRuneInString(text)
	return string(unicode.ToUpper(first)) + text[size:]
}

func (c Candidate) lastLines() string {
	lines := c.Status.LastLines
	if len(lines) > 5 {
		lines = lines[len(lines)-5:]
	}
	if len(lines) == 0 {
		return ""
	}
	return "Last lines: " + strings.Join(lines, " | ")
}

func times(n int) string {
	if n <= 1 {
		return "once"
	}
	return fmt.Sprintf("%d times", n)
}

func plural(items []string, noun string) string {
	if len(items) > 1 {
		noun += "s"
	}
	return noun + " " + strings.Join(items, ", ")
}

// sentence makes a text end with a full stop.
func sentence(s string) string {
	s = strings.TrimSpace(strings.ReplaceAll(s, "\n", " "))
	if s == "" {
		return "no reason is known."
	}
	if strings.HasSuffix(s, ".") {
		return s
	}
	return s + "."
}

func join(parts ...string) string {
	return strings.Join(slices.DeleteFunc(parts, func(p string) bool { return p == "" }), " ")
}
