package logs

import (
	"time"

	"github.com/funade/funade/internal/app"
)

// Rejected is RejectedLogEventsInfo; -1 = none.
type Rejected struct {
	// TooNewStart is the index of the first event that lies too far in the future.
	TooNewStart int
	// TooOldEnd is one past the last event that is older than 14 days.
	TooOldEnd int
	// ExpiredEnd is one past the last event that is older than the group's retention.
	ExpiredEnd int
}

// Any reports whether something was rejected.
func (r Rejected) Any() bool { return r.TooNewStart >= 0 || r.TooOldEnd >= 0 || r.ExpiredEnd >= 0 }

// CheckBatch applies the rules of PutLogEvents to a batch: an error refuses all of it, else
// events[from:to] are to be stored. retentionDays is the group's, 0 = never expire.
func CheckBatch(events []app.LogEvent, now time.Time, retentionDays int) (from, to int, rejected Rejected, err error) {
	rejected = Rejected{TooNewStart: -1, TooOldEnd: -1, ExpiredEnd: -1}
	if err := checkBatchShape(events); err != nil {
		return 0, 0, rejected, err
	}
	oldest, newest := now.Add(-MaxEventAge), now.Add(MaxEventLead)
	expired := time.Time{}
	if retentionDays > 0 {
		expired = now.Add(-time.Duration(retentionDays) * 24 * time.Hour)
	}
	from, to = 0, len(events)
	for i, e := range events {
		if e.Timestamp.Before(oldest) {
			rejected.TooOldEnd = i + 1
			from = i + 1
		}
		if !expired.IsZero() && e.Timestamp.Before(expired) {
			rejected.ExpiredEnd = i + 1
			from = i + 1
		}
		if e.Timestamp.After(newest) {
			rejected.TooNewStart = i
			to = i
			break
		}
	}
	return min(from, to), to, rejected, nil
}

func checkBatchShape(events []app.LogEvent) error {
	if len(events) == 0 {
		return invalid("logEvents", "logEvents is empty; a batch holds at least one event.")
	}
	if len(events) > MaxBatchEvents {
		return invalid("logEvents", "logEvents holds %d events; at most %d are allowed in a batch.", len(events), MaxBatchEvents)
	}
	size := 0
	for i, e := range events {
		n := len(e.Message) + EventOverhead
		switch {
		case e.Message == "":
			return invalid("logEvents", "logEvents[%d].message is empty; a message holds at least one character.", i)
		case n > MaxEventBytes:
			return invalid("logEvents", "Log event too large: %d bytes exceeds limit of %d (logEvents[%d], %d bytes of overhead included).", n, MaxEventBytes, i, EventOverhead)
		case e.Timestamp.UnixMilli() < 0:
			return invalid("logEvents", "logEvents[%d].timestamp is negative; it counts milliseconds since 1970-01-01 UTC.", i)
		case i > 0 && e.Timestamp.Before(events[i-1].Timestamp):
			return invalid("logEvents", "Log events in a single PutLogEvents request must be in chronological order (logEvents[%d] is older than the one before it).", i)
		}
		size += n
	}
	if size > MaxBatchBytes {
		return invalid("logEvents", "Upload too large: %d bytes exceeds limit of %d (%d bytes of overhead an event included); send smaller batches.", size, MaxBatchBytes, EventOverhead)
	}
	if span := events[len(events)-1].Timestamp.Sub(events[0].Timestamp); span > MaxBatchSpan {
		return invalid("logEvents", "The batch of log events in a single PutLogEvents request cannot span more than 24 hours (it spans %s).", span)
	}
	return nil
}
