package bench

import (
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/funade/funade/build/ociimage"
	"github.com/funade/funade/test/harness"
)

func TestMain(m *testing.M) { harness.Main(m) }

var only = flag.String("bench", "", "name of the measurement; all when empty")

// measurements are what -bench names.
var measurements = map[string]func(*testing.T, *report){"ship": ship, "vpc": private}

func TestBench(t *testing.T) {
	if *only != "" && measurements[*only] == nil {
		t.Fatalf("no measurement is called %q", *only)
	}
	for name, measure := range measurements {
		if *only == "" || *only == name {
			r := &report{name: name}
			t.Run(name, func(t *testing.T) { measure(t, r) })
			r.print()
		}
	}
}

// report is the table of one run.
type report struct {
	name string
	rows []row
}

type row struct{ what, figure, peer, bar, verdict string }

// add takes a figure that may not exceed its bar. value and bar are in the same unit, which format prints; peer is the
// peer's figure or "".
func (r *report) add(what, format string, value float64, peer string, bar float64) {
	r.row(what, format, value, peer, "<=", bar, value <= bar)
}

// atLeast takes a figure that may not fall below its bar.
func (r *report) atLeast(what, format string, value float64, peer string, bar float64) {
	r.row(what, format, value, peer, ">=", bar, value >= bar)
}

func (r *report) row(what, format string, value float64, peer, relation string, bar float64, kept bool) {
	verdict := "ok"
	if !kept {
		verdict = "MISSED"
	}
	r.rows = append(r.rows, row{what, fmt.Sprintf(format, value), peer, relation + " " + fmt.Sprintf(format, bar), verdict})
}

func (r *report) print() {
	load, _ := os.ReadFile("/proc/loadavg") // as good as it gets
	fmt.Printf("\n%s (load %s):\n", r.name, strings.Join(strings.Fields(string(load))[:3], " "))
	w := tabwriter.NewWriter(os.Stdout, 0, 4, 2, ' ', 0)
	fmt.Fprintln(w, "WHAT\tFIGURE\tPEER\tBAR\tVERDICT")
	for _, l := range r.rows {
		fmt.Fprintln(w, strings.Join([]string{l.what, l.figure, l.peer, l.bar, l.verdict}, "\t"))
	}
	_ = w.Flush() // to standard output
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

func median[T time.Duration | float64](values []T) T {
	sorted := slices.Sorted(slices.Values(values))
	return sorted[len(sorted)/2]
}

// p99 is the value that one in a hundred exceeds; it wants a hundred values at least.
func p99(values []time.Duration) time.Duration {
	sorted := slices.Sorted(slices.Values(values))
	return sorted[(len(sorted)*99+99)/100-1]
}

// subject is one server with an image in its registry.
type subject struct {
	*harness.Server
	t     *testing.T
	ctx   context.Context
	api   *harness.API
	image string
}

// newSubject prepares a data directory and starts the server; the test's end purges it.
func newSubject(t *testing.T) *subject {
	t.Helper()
	server, err := harness.NewServer(t.TempDir(), "--max-services", "20000")
	check(t, err)
	s := &subject{Server: server, t: t, ctx: context.WithoutCancel(t.Context())}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("end of the server's log:\n%s", server.LogTail())
		}
		if err := server.Purge(s.ctx); err != nil {
			t.Error(err)
		}
	})
	check(t, server.Start(s.ctx))
	s.api, err = server.Clients()
	check(t, err)
	return s
}

// push puts testapp into the registry.
func (s *subject) push() {
	s.t.Helper()
	program, err := harness.TestApp()
	check(s.t, err)
	img, err := ociimage.Build(ociimage.Options{Program: program, Port: 8080})
	check(s.t, err)
	uri, err := s.api.CreateRepository(s.ctx, "app")
	check(s.t, err)
	check(s.t, s.api.Push(s.ctx, img, "app", "v1"))
	s.image = uri + ":v1"
}

// eventually polls until ok answers true.
func (s *subject) eventually(limit time.Duration, what string, ok func() bool) {
	s.t.Helper()
	deadline := time.Now().Add(limit)
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		if time.Now().After(deadline) {
			s.t.Fatalf("not within %v: %s", limit, what)
		}
		<-tick.C
	}
}

// cpu is the processor time that a process has used, in steps of 10 ms (proc(5), utime and stime in ticks).
func cpu(t *testing.T, pid int) time.Duration {
	t.Helper()
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	check(t, err)
	_, rest, _ := strings.Cut(string(data), ") ")
	fields := strings.Fields(rest)
	var ticks int
	for _, f := range fields[11:13] {
		n, err := strconv.Atoi(f)
		check(t, err)
		ticks += n
	}
	return time.Duration(ticks) * 10 * time.Millisecond
}

// kibibytes reads a field of a file of /proc/PID, in KiB.
func kibibytes(pid int, file, field string) (float64, error) {
	data, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), file))
	if err != nil {
		return 0, err
	}
	for l := range strings.Lines(string(data)) {
		if rest, ok := strings.CutPrefix(l, field+":"); ok {
			return strconv.ParseFloat(strings.Fields(rest)[0], 64)
		}
	}
	return 0, fmt.Errorf("%s of process %d has no field %s", file, pid, field)
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
