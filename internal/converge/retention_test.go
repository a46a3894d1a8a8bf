package converge

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/funade/funade/internal/app"
)

type fakeKeeper struct {
	dropped []DroppedLogs
	notes   map[app.LogStreamKey][]string
}

func (k *fakeKeeper) Maintain(context.Context, time.Time) ([]DroppedLogs, error) {
	out := k.dropped
	k.dropped = nil
	return out, nil
}

func (k *fakeKeeper) Note(_ context.Context, key app.LogStreamKey, e app.LogEvent) error {
	k.notes[key] = append(k.notes[key], e.Message)
	return nil
}

func TestRetentionTellsTheOwner(t *testing.T) {
	scope := app.Scope{Account: "000000000000", Region: "us-east-1"}
	day := time.Date(2026, 11, 3, 0, 0, 0, 0, time.UTC)
	service := app.LogGroupKey{Scope: scope, Name: "/aws/apprunner/web/0123456789abcdef0123456789abcdef/application"}
	own := app.LogGroupKey{Scope: scope, Name: "mine"}
	k := &fakeKeeper{notes: map[app.LogStreamKey][]string{}, dropped: []DroppedLogs{{Group: service, Day: day, Bytes: 7}, {Group: own, Day: day, Bytes: 9}}}
	if err := NewRetention(k, time.Now).pass(t.Context()); err != nil {
		t.Fatal(err)
	}
	events := app.LogStreamKey{Group: app.LogGroupKey{Scope: scope, Name: "/aws/apprunner/web/0123456789abcdef0123456789abcdef/service"}, Stream: "events"}
	if got := k.notes[events]; len(got) != 1 || !strings.Contains(got[0], "2026-11-03") || !strings.Contains(got[0], "--logs-max-bytes") {
		t.Errorf("notes of the service's events = %q, want one with the day and the remedy", got)
	}
	if got := k.notes[app.LogStreamKey{Group: own, Stream: "funade/notices"}]; len(got) != 1 || !strings.Contains(got[0], "9 bytes") {
		t.Errorf("notes of the own group = %q, want one with the size", got)
	}
}
