package registry_test

import (
	"bytes"
	"context"
	"math/rand/v2"
	"net/http"
	"testing"
	"time"

	"github.com/funade/funade/internal/app"
)

// BenchmarkPush pushes a 100 MB layer over loopback (POST, PATCH, PUT) and reports the time as a multiple of writing and
// hashing the same bytes into the same store; the bar is 1.5.
func BenchmarkPush(b *testing.B) {
	f := newFixture(b, nil)
	f.rows.Create(repo("hello"), false)
	layer := make([]byte, 100<<20)
	fillRandom(layer)
	var pushed, written time.Duration
	b.SetBytes(int64(len(layer)))
	for i := 0; b.Loop(); i++ {
		layer[0], layer[1], layer[2] = byte(i), byte(i>>8), 1
		digest := app.SHA256(layer)
		start := time.Now()
		location := f.begin(b, "hello")
		f.patch(b, location, layer)
		resp, body := f.do(b, "PUT", location+"?digest="+string(digest), "")
		want(b, "the push", resp, body, http.StatusCreated, "")
		pushed += time.Since(start)
		b.StopTimer()
		sweep(b, f)
		start = time.Now()
		writeAndHash(b, f, layer, digest)
		written += time.Since(start)
		sweep(b, f)
		b.StartTimer()
	}
	b.ReportMetric(float64(pushed)/float64(written), "x-write+hash")
}

func fillRandom(b []byte) {
	seed := [32]byte{1}
	_, _ = rand.NewChaCha8(seed).Read(b) // never fails
}

func (f *fixture) patch(b *testing.B, location string, body []byte) {
	req, err := http.NewRequest("PATCH", f.server.URL+location, bytes.NewReader(body))
	if err != nil {
		b.Fatal(err)
	}
	req.SetBasicAuth("AWS", f.password)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		b.Fatal(err)
	}
	if text := readAll(b, resp); resp.StatusCode != http.StatusAccepted {
		b.Fatalf("PATCH answered %d %s", resp.StatusCode, text)
	}
}

// writeAndHash puts the bytes into the store without the registry.
func writeAndHash(b *testing.B, f *fixture, content []byte, digest app.Digest) {
	up, err := f.files.Upload(context.Background(), "direct")
	if err != nil {
		b.Fatal(err)
	}
	for rest := content; len(rest) > 0; {
		n := min(len(rest), 512<<10)
		if _, err := up.Write(rest[:n]); err != nil {
			b.Fatal(err)
		}
		rest = rest[n:]
	}
	if err := up.Commit(context.Background(), digest, int64(len(content))); err != nil {
		b.Fatal(err)
	}
}

func sweep(b *testing.B, f *fixture) {
	if _, err := f.files.Sweep(context.Background(), nil, f.now().Add(time.Hour)); err != nil {
		b.Fatal(err)
	}
}

// BenchmarkPull reads a 100 MB layer over loopback.
func BenchmarkPull(b *testing.B) {
	f := newFixture(b, nil)
	f.rows.Create(repo("hello"), false)
	layer := make([]byte, 100<<20)
	fillRandom(layer)
	digest := app.SHA256(layer)
	location := f.begin(b, "hello")
	f.patch(b, location, layer)
	resp, body := f.do(b, "PUT", location+"?digest="+string(digest), "")
	want(b, "the push", resp, body, http.StatusCreated, "")
	b.SetBytes(int64(len(layer)))
	for b.Loop() {
		resp, body := f.do(b, "GET", "/v2/hello/blobs/"+string(digest), "")
		if resp.StatusCode != http.StatusOK || len(body) != len(layer) {
			b.Fatalf("the pull answered %d with %d bytes", resp.StatusCode, len(body))
		}
	}
}
