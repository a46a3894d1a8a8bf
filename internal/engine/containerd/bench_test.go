package containerd

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"testing"
	"time"

	"github.com/funade/funade/internal/app"
	"github.com/funade/funade/internal/base/id"
	"github.com/funade/funade/internal/engine/containerd/shim"
	"github.com/funade/funade/internal/engine/enginetest"
)

// procField returns a field of a file in /proc in kB.
func procField(t testing.TB, file, name string) int {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var n int
	for line := range strings.Lines(string(data)) {
		if rest, ok := strings.CutPrefix(line, name+":"); ok {
			if _, err := fmt.Sscan(rest, &n); err != nil {
				t.Fatal(err)
			}
		}
	}
	return n
}

// What a service's shim may cost beside the application, several sharing the program's
// pages, and what each further instance of the service may, in kB.
const (
	maxShimPSS = 10 << 10
	maxMorePSS = 2 << 10
)

func TestShimMemory(t *testing.T) {
	cfg := testConfig(t)
	cfg.StorageCheck = 0 // as seldom as in production: every look wakes the shim
	slim, err := build("containerd/shim/funade-shim")
	if err != nil {
		t.Fatal(err)
	}
	cfg.Self = filepath.Join(t.TempDir(), "funade-shim")
	if err := os.WriteFile(cfg.Self, slim, 0o755); err != nil {
		t.Fatal(err)
	}
	h := harness(t, cfg)
	in := h.Instance(t, enginetest.Program{Actions: []string{"serve"}})
	h.Ensure(t, in)
	h.Until(t, in.ID, "running", running)
	alone := quietPSS(t, &cfg)
	add := func(service app.ServiceID) {
		more := in
		more.ID, more.Service, more.Network = app.InstanceID(id.Source{}.Hex32()), service, h.Network(t)
		h.Ensure(t, more)
		h.Until(t, more.ID, "running", running)
	}
	for range 2 {
		add(app.ServiceID(id.Source{}.Hex32()))
	}
	services := quietPSS(t, &cfg)
	add(in.Service)
	if n := len(shimPIDs(&cfg)); n != 3 {
		t.Errorf("%d shims for three services; want one each", n)
	}
	more := quietPSS(t, &cfg) - services
	t.Logf("shim PSS: %d kB for one service, %d kB for three, %d kB for one more instance", alone, services, more)
	if services > 3*maxShimPSS || more > maxMorePSS {
		t.Errorf("three services take %d kB, one more instance %d kB; the limits are %d kB a service and %d kB", services, more, maxShimPSS, maxMorePSS)
	}
}

// quietPSS measures the shims after they have had time to hand memory back.
func quietPSS(t testing.TB, cfg *Config) int {
	<-time.After(2 * shim.Quiet)
	return shimPSS(t, cfg)
}

func shimPSS(t testing.TB, cfg *Config) int {
	total := 0
	for _, pid := range shimPIDs(cfg) {
		file := fmt.Sprintf("/proc/%d/smaps_rollup", pid)
		total += procField(t, file, "Pss")
	}
	return total
}

// BenchmarkEnsure is the time from nothing to a running process with a cached image.
func BenchmarkEnsure(b *testing.B) {
	cfg := testConfig(b)
	h := harness(b, cfg)
	in := h.Instance(b, enginetest.Program{Actions: []string{"serve"}})
	debug.FreeOSMemory()
	idle := procField(b, "/proc/self/status", "RssAnon")
	network := h.Network(b)
	for b.Loop() {
		one := in
		one.ID, one.Service, one.Network = app.InstanceID(id.Source{}.Hex32()), app.ServiceID(id.Source{}.Hex32()), network
		if err := h.Engine.Ensure(b.Context(), one); err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		if err := h.Engine.Remove(b.Context(), one.ID, 0); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
	b.ReportMetric(float64(idle), "kB-idle")
}

// BenchmarkPush compares a push of 100 MB with writing, hashing and syncing the same bytes.
func BenchmarkPush(b *testing.B) {
	cfg := testConfig(b)
	h := harness(b, cfg)
	data := make([]byte, 100<<20)
	var pushes, plain time.Duration
	for b.Loop() {
		copy(data, id.Source{}.Hex32())
		began := time.Now()
		pushChunks(b, h, data)
		pushes += time.Since(began)
		began = time.Now()
		writePlain(b, filepath.Join(cfg.DataDir, "plain"), data)
		plain += time.Since(began)
	}
	b.ReportMetric(float64(pushes)/float64(plain), "times-plain")
}

// pushChunks pushes as clients do: one request opens the session, one writes, one commits.
func pushChunks(b *testing.B, h *enginetest.Harness, data []byte) {
	ref := id.Source{}.Hex32()
	for step := range 3 {
		u, err := h.Blobs.Upload(b.Context(), ref)
		if err != nil {
			b.Fatal(err)
		}
		switch step {
		case 1:
			_, err = io.CopyBuffer(u, struct{ io.Reader }{bytes.NewReader(data)}, make([]byte, 1<<20))
		case 2:
			err = u.Commit(b.Context(), enginetest.DigestOf(data), int64(len(data)))
		}
		if err != nil {
			b.Fatal(err)
		}
		if err := u.Close(); err != nil {
			b.Fatal(err)
		}
	}
}

func writePlain(b *testing.B, path string, data []byte) {
	f, err := os.Create(path)
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	hash := sha256.New()
	w := bufio.NewWriterSize(io.MultiWriter(f, hash), 1<<20)
	if _, err := io.Copy(w, struct{ io.Reader }{bytes.NewReader(data)}); err != nil {
		b.Fatal(err)
	}
	if err := w.Flush(); err != nil {
		b.Fatal(err)
	}
	hash.Sum(nil)
	if err := f.Sync(); err != nil {
		b.Fatal(err)
	}
	// The digest that a client sends along is hashed outside of the store; do as much here.
	enginetest.DigestOf(data)
	if err := os.Remove(path); err != nil {
		b.Fatal(err)
	}
}
