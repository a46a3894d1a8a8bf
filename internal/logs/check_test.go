package logs

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/funade/funade/internal/app"
)

func TestCheckBatch(t *testing.T) {
	at := func(d time.Duration) app.LogEvent { return app.LogEvent{Timestamp: base.Add(d), Message: "m"} }
	const day = 24 * time.Hour
	none := Rejected{TooNewStart: -1, TooOldEnd: -1, ExpiredEnd: -1}
	big := func(n, size int) []app.LogEvent {
		return slices.Repeat([]app.LogEvent{{Timestamp: base, Message: strings.Repeat("x", size)}}, n)
	}
	tests := []struct {
		name      string
		events    []app.LogEvent
		retention int
		from, to  int
		rejected  Rejected
		err       string
	}{
		{name: "good", events: []app.LogEvent{at(-time.Hour), at(0), at(0)}, to: 3, rejected: none},
		{name: "limits of age", events: []app.LogEvent{at(-MaxEventAge)}, to: 1, rejected: none},
		{name: "limit of lead", events: []app.LogEvent{at(MaxEventLead)}, to: 1, rejected: none},
		{name: "too old", events: []app.LogEvent{at(-14*day - 1), at(-14*day + 1)}, from: 1, to: 2, rejected: Rejected{TooNewStart: -1, TooOldEnd: 1, ExpiredEnd: -1}},
		{name: "too new", events: []app.LogEvent{at(0), at(2*time.Hour + 1)}, to: 1, rejected: Rejected{TooNewStart: 1, TooOldEnd: -1, ExpiredEnd: -1}},
		{name: "expired", events: []app.LogEvent{at(-3*day - 1), at(-3*day + 1)}, retention: 3, from: 1, to: 2, rejected: Rejected{TooNewStart: -1, TooOldEnd: -1, ExpiredEnd: 1}},
		{name: "all too old", events: []app.LogEvent{at(-15 * day)}, from: 1, to: 1, rejected: Rejected{TooNewStart: -1, TooOldEnd: 1, ExpiredEnd: -1}},
		{name: "empty", err: "logEvents is empty"},
		{name: "empty message", events: []app.LogEvent{{Timestamp: base}}, err: "message is empty"},
		{name: "unordered", events: []app.LogEvent{at(0), at(-1)}, err: "chronological"},
		{name: "span", events: []app.LogEvent{at(-25 * time.Hour), at(0)}, err: "24 hours"},
		{name: "largest event", events: big(1, MaxEventBytes-EventOverhead), to: 1, rejected: none},
		{name: "event too large", events: big(1, MaxEventBytes-EventOverhead+1), err: "Log event too large"},
		{name: "most events", events: big(10_000, 1), to: 10_000, rejected: none},
		{name: "too many events", events: big(10_001, 1), err: "at most 10000"},
		{name: "largest batch", events: big(8, MaxBatchBytes/8-EventOverhead), to: 8, rejected: none},
		{name: "batch too large", events: append(big(8, MaxBatchBytes/8-EventOverhead), big(1, 1)...), err: "Upload too large"},
		{name: "negative", events: []app.LogEvent{{Timestamp: time.UnixMilli(-1), Message: "m"}}, err: "negative"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			from, to, rejected, err := CheckBatch(tt.events, base, tt.retention)
			if tt.err != "" {
				if app.KindOf(err) != app.KindInvalidRequest || !strings.Contains(err.Error(), tt.err) {
					t.Fatalf("got %v, want %q", err, tt.err)
				}
				return
			}
			if err != nil || from != tt.from || to != tt.to || rejected != tt.rejected {
				t.Errorf("got %d, %d, %+v, %v; want %d, %d, %+v", from, to, rejected, err, tt.from, tt.to, tt.rejected)
			}
			if rejected.Any() != (tt.rejected != none) {
				t.Errorf("Any() = %v", rejected.Any())
			}
		})
	}
}
