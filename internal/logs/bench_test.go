package logs

import (
	"fmt"
	"syscall"
	"testing"
	"time"

	"github.com/funade/funade/internal/app"
)

func cpuTime(tb testing.TB) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		tb.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// benchBatch makes n access-log lines of 132 bytes.
func benchBatch(n, seed int) []app.LogEvent {
	events := make([]app.LogEvent, n)
	for i := range events {
		k := uint32(seed*n+i) * 2654435761
		line := fmt.Sprintf(`10.1.%d.%d - - "GET /items/%d?page=%d HTTP/1.1" %d %d request_id=%08x-%08x took=%dms`, k>>24, k>>16&255, k%5000, k%17, 200+k%5*50, k%90000, k, k*7, k%900)
		events[i] = app.LogEvent{Timestamp: base.Add(time.Duration(seed*n+i) * time.Microsecond * 50), Message: fmt.Sprintf("%-132.132s", line)}
	}
	return events
}

// BenchmarkIngest reports lines of 132 bytes per second of CPU time, from Append to compressed blocks.
func BenchmarkIngest(b *testing.B) {
	s := openStore(b, b.TempDir(), newRows())
	const batch = 1000
	batches := make([][]app.LogEvent, 50)
	for i := range batches {
		batches[i] = benchBatch(batch, i)
	}
	key := streamKey("g", "s")
	b.ResetTimer()
	cpu := cpuTime(b)
	for i := 0; b.Loop(); i++ {
		mustAppend(b, s, key, batches[i%len(batches)]...)
	}
	lines := float64(b.N) * batch
	b.ReportMetric(lines/(cpuTime(b)-cpu).Seconds(), "lines/cpu-s")
	b.ReportMetric(float64(s.bytes.Load())/lines, "disk-B/line")
	b.SetBytes(batch * 132)
}

// BenchmarkFilter scans a group for a word that is nowhere: by content, and by the word filter.
func BenchmarkFilter(b *testing.B) {
	s := openStore(b, b.TempDir(), newRows())
	const batches = 300
	for i := range batches {
		mustAppend(b, s, streamKey("g", "s"), benchBatch(1000, i)...)
	}
	for _, pattern := range []string{"nowhere", `"x nowhere x"`} {
		p, err := ParsePattern(pattern)
		if err != nil {
			b.Fatal(err)
		}
		b.Run(pattern, func(b *testing.B) {
			b.SetBytes(batches * 1000 * 132)
			for b.Loop() {
				if out, err := s.Filter(b.Context(), FilterInput{Group: groupKey("g"), Pattern: p}); err != nil || len(out.Events) != 0 {
					b.Fatal(len(out.Events), err)
				}
			}
		})
	}
}
