package logs

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/funade/funade/internal/app"
)

// until polls a condition with a deadline.
func until(t testing.TB, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("timed out waiting until %s", what)
		}
		<-time.After(5 * time.Millisecond)
	}
}

type collecting struct {
	*Collector
	stop func()
	done chan app.InstanceID
}

func collect(t *testing.T, s *Store, r *rows) collecting {
	t.Helper()
	done := make(chan app.InstanceID, 100)
	c := NewCollector(CollectorConfig{Store: s, Groups: r, Poll: 5 * time.Millisecond, Logger: quiet, Done: func(id app.InstanceID) { done <- id }})
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() { defer close(ended); _ = c.Run(ctx) }()
	stop := func() { cancel(); <-ended }
	t.Cleanup(stop)
	return collecting{c, stop, done}
}

func appendFile(t testing.TB, path, text string) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteString(text); err != nil {
		t.Fatal(err)
	}
}

func TestCollectorMakesEventsOfLines(t *testing.T) {
	s, r := openStore(t, t.TempDir(), newRows()), newRows()
	c := collect(t, s, r)
	path := filepath.Join(t.TempDir(), "log")
	src := Source{Instance: "i1", Key: streamKey("g", "instance/i1"), Path: path}
	c.Follow([]Source{src}) // before the file exists
	long := strings.Repeat("é", 200<<10)
	appendFile(t, path, "one\r\n\ntwo \xff!\n"+long+"\npart")
	want := []string{"one", "two \uFFFD!"}
	got := func() []string { return all(t, s, src.Key, 0) }
	until(t, "the unfinished line has come", func() bool { g := got(); return len(g) > 0 && g[len(g)-1] == "part" })
	g := got()
	equal(t, g[:2], want)
	if joined := strings.Join(g[2:len(g)-1], ""); joined != long || len(g) < 5 {
		t.Fatalf("the long line came back as %d events of %d bytes", len(g)-3, len(joined))
	}
	for _, m := range g {
		if len(m) > maxMessage {
			t.Errorf("an event of %d bytes", len(m))
		}
	}
	appendFile(t, path, "ial\nlast")
	c.Follow([]Source{src})
	src.Final = true
	c.Follow([]Source{src})
	if id := <-c.done; id != "i1" || !c.IsDone("i1") {
		t.Fatalf("done %s", id)
	}
	g = got()
	equal(t, g[len(g)-3:], []string{"part", "ial", "last"})
	c.Follow([]Source{src})
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	c.Follow(nil)
	c.sweep(t.Context())
	if _, ok := s.Cursor(t.Context(), src.Key.Group, cursorName(path)); ok {
		t.Error("the cursor of a deleted file is still there")
	}
	if n := r.ensure[src.Key]; n != 1 {
		t.Errorf("Ensure was called %d times, want once", n)
	}
}

func TestCollectorResumesAndGivesSpaceBack(t *testing.T) {
	dir, r := t.TempDir(), newRows()
	s := openStore(t, dir, r)
	path := filepath.Join(t.TempDir(), "log")
	src := Source{Instance: "i1", Key: streamKey("g", "s"), Path: path}
	c := collect(t, s, r)
	c.Follow([]Source{src})
	const n = 200_000
	text := strings.Join(lines(0, n), "\n") + "\n"
	appendFile(t, path, text[:len(text)/2])
	until(t, "half is stored", func() bool {
		v, _ := s.Cursor(t.Context(), src.Key.Group, cursorName(path))
		return v > int64(len(text)/2-100)
	})
	c.stop()
	abandon(t, s)
	s = openStore(t, dir, r)
	c = collect(t, s, r)
	c.Follow([]Source{src})
	appendFile(t, path, text[len(text)/2:])
	src.Final = true
	c.Follow([]Source{src})
	<-c.done
	equal(t, all(t, s, src.Key, 0), lines(0, n))
	var st syscall.Stat_t
	if err := syscall.Stat(path, &st); err != nil {
		t.Fatal(err)
	}
	if st.Size != int64(len(text)) || st.Blocks*512 > st.Size/4 {
		t.Errorf("the file has size %d and takes %d bytes; want %d and next to nothing", st.Size, st.Blocks*512, len(text))
	}
}

func TestCollectorMissingAndReplacedFiles(t *testing.T) {
	s, r := openStore(t, t.TempDir(), newRows()), newRows()
	c := collect(t, s, r)
	dir := t.TempDir()
	gone := Source{Instance: "gone", Key: streamKey("g", "gone"), Path: filepath.Join(dir, "gone"), Final: true}
	src := Source{Instance: "i", Key: streamKey("g", "s"), Path: filepath.Join(dir, "log")}
	appendFile(t, src.Path, "a long first line\n")
	c.Follow([]Source{gone, src})
	if id := <-c.done; id != "gone" {
		t.Fatalf("done %s", id)
	}
	until(t, "the first file is read", func() bool { return len(all(t, s, src.Key, 0)) == 1 })
	if err := os.Remove(src.Path); err != nil {
		t.Fatal(err)
	}
	appendFile(t, src.Path, "short\n")
	until(t, "the second file is read", func() bool { return len(all(t, s, src.Key, 0)) == 2 })
	equal(t, all(t, s, src.Key, 0), []string{"a long first line", "short"})
}

func TestCollectorManyFiles(t *testing.T) {
	s, r := openStore(t, t.TempDir(), newRows()), newRows()
	c := collect(t, s, r)
	dir := t.TempDir()
	var sources []Source
	for i := range 50 {
		src := Source{Instance: app.InstanceID(fmt.Sprint(i)), Key: streamKey("g", fmt.Sprint(i)), Path: filepath.Join(dir, fmt.Sprint(i)), Final: true}
		appendFile(t, src.Path, strings.Join(lines(i, i+100), "\n"))
		sources = append(sources, src)
	}
	c.Follow(sources)
	for range sources {
		<-c.done
	}
	for i, src := range sources {
		equal(t, all(t, s, src.Key, 0), lines(i, i+100))
	}
}
