package logs

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/funade/funade/internal/app"
	"github.com/funade/funade/internal/base/failpoint"
)

// crashDirEnv makes the test program a collector on that directory, to be killed; crashPointsEnv are its failpoints.
const (
	crashDirEnv    = "FUNADE_LOGS_CRASH_DIR"
	crashPointsEnv = "FUNADE_LOGS_CRASH_POINTS"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(crashDirEnv); dir != "" {
		if err := crashCollector(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

func crashSource(dir string, final bool) Source {
	return Source{Instance: "i", Key: streamKey("g", "s"), Path: filepath.Join(dir, "output"), Final: final}
}

// crashCollector collects until it is killed; it writes a line once it runs.
func crashCollector(dir string) error {
	if err := failpoint.FromEnv(os.Getenv(crashPointsEnv)); err != nil {
		return err
	}
	s, err := Open(Config{Dir: filepath.Join(dir, "store"), Groups: newRows(), MaxBytes: 1 << 40, Logger: quiet})
	if err != nil {
		return err
	}
	c := NewCollector(CollectorConfig{Store: s, Groups: newRows(), Poll: time.Millisecond, Logger: quiet})
	c.Follow([]Source{crashSource(dir, false)})
	fmt.Println("collecting")
	return c.Run(context.Background())
}

// TestKilledCollectorLosesAndRepeatsNothing kills a collector again and again, at random moments and
// at each failpoint, while lines are appended: every line is there once, in order.
func TestKilledCollectorLosesAndRepeatsNothing(t *testing.T) {
	dir := t.TempDir()
	stop, written := make(chan struct{}), make(chan int)
	go writeNumbers(t, crashSource(dir, false).Path, stop, written)
	points := []string{"", "logs/write=kill@2", "logs/synced=kill@1", "", "logs/flush=kill@1", "logs/checkpoint=kill@1", "logs/meta=kill@1", ""}
	const rounds = 24
	for round := range rounds {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), crashDirEnv+"="+dir, crashPointsEnv+"="+points[round%len(points)])
		cmd.Stderr = os.Stderr
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		// A failpoint may strike during recovery: then no line comes.
		_, _ = bufio.NewReader(out).ReadString('\n')
		timer := time.AfterFunc(time.Duration(10+round*13%90)*time.Millisecond, func() { _ = cmd.Process.Kill() })
		_ = cmd.Wait()
		timer.Stop()
	}
	close(stop)
	n := <-written

	s := openStore(t, filepath.Join(dir, "store"), newRows())
	c := collect(t, s, newRows())
	src := crashSource(dir, true)
	c.Follow([]Source{src})
	<-c.done
	token, next := "", 0
	for {
		page, err := s.GetEvents(t.Context(), GetEventsInput{Stream: src.Key, FromHead: true, Token: token})
		if err != nil {
			t.Fatal(err)
		}
		if len(page.Events) == 0 {
			break
		}
		for _, e := range page.Events {
			if e.Message != strconv.Itoa(next) {
				t.Fatalf("got line %s, want %d of %d", e.Message, next, n)
			}
			next++
		}
		token = page.ForwardToken
	}
	if next != n || n < 1000 {
		t.Fatalf("%d lines, want %d (and at least 1000)", next, n)
	}
}

// writeNumbers appends numbered lines, as a container's shim does, until stop.
func writeNumbers(t *testing.T, path string, stop <-chan struct{}, written chan<- int) {
	f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		t.Error(err)
	}
	defer f.Close()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	n := 0
	for {
		var b []byte
		for range 200 {
			b = append(strconv.AppendInt(b, int64(n), 10), '\n')
			n++
		}
		if _, err := f.Write(b); err != nil {
			t.Error(err)
		}
		select {
		case <-stop:
			written <- n
			return
		case <-tick.C:
		}
	}
}

// TestEveryAcknowledgedAppendSurvivesFailpoints ends a store that cannot flush, checkpoint or write its state, again and again.
func TestEveryAcknowledgedAppendSurvivesFailpoints(t *testing.T) {
	dir := t.TempDir()
	next := 0
	for round := range 6 {
		s := openStore(t, dir, newRows())
		disable := failpoint.Enable([]string{"logs/flush", "logs/checkpoint", "logs/meta"}[round%3], func() error { return fmt.Errorf("no space left on device") })
		for range 40 {
			var events []app.LogEvent
			for range 300 {
				events = append(events, event(int64(next), "line %06d", next))
				next++
			}
			mustAppend(t, s, streamKey("g", "s"), events...)
		}
		equal(t, all(t, s, streamKey("g", "s"), 0), lines(0, next))
		_ = s.Close() // fails to checkpoint
		disable()
	}
	s := openStore(t, dir, newRows())
	equal(t, all(t, s, streamKey("g", "s"), 0), lines(0, next))
}
