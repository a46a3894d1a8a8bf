package converge

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/funade/funade/internal/app"
)

// maintainEvery is how often retention and the byte cap are applied.
const maintainEvery = time.Minute

// DroppedLogs tells of events of one group and day that went because all groups together reached their limit.
type DroppedLogs struct {
	Group app.LogGroupKey
	Day   time.Time
	Bytes int64
}

// LogKeeper applies retention and the byte cap to the log store.
type LogKeeper interface {
	// Maintain returns what the byte cap dropped since the last call.
	Maintain(ctx context.Context, now time.Time) ([]DroppedLogs, error)
	// Note appends a line to a stream, which it makes if need be.
	Note(ctx context.Context, key app.LogStreamKey, e app.LogEvent) error
}

// Retention keeps the log store within its bounds and tells the owners of dropped events so.
type Retention struct {
	keeper LogKeeper
	now    func() time.Time
}

// NewRetention returns the converger; Run does its work.
func NewRetention(k LogKeeper, now func() time.Time) *Retention { return &Retention{k, now} }

// Run converges until ctx ends.
func (c *Retention) Run(ctx context.Context) {
	Loop(ctx, "retention", func() []<-chan struct{} { return nil }, maintainEvery, c.pass)
}

func (c *Retention) pass(ctx context.Context) error {
	dropped, err := c.keeper.Maintain(ctx, c.now())
	errs := []error{err}
	for _, d := range dropped {
		errs = append(errs, c.keeper.Note(ctx, noticeStream(d.Group), app.LogEvent{Timestamp: c.now(), Message: fmt.Sprintf(
			"The log events of %s in %s were removed (%d bytes): all log groups together reached their limit. Raise --logs-max-bytes, or set retention policies.",
			d.Day.Format(time.DateOnly), d.Group.Name, d.Bytes,
		)}))
	}
	return errors.Join(errs...)
}

// noticeStream is where a group's owner looks: the events of the service that the group belongs to, else a stream
// of the group itself.
func noticeStream(g app.LogGroupKey) app.LogStreamKey {
	name, ok := strings.CutPrefix(g.Name, "/aws/apprunner/")
	if parts := strings.Split(name, "/"); ok && len(parts) == 3 {
		svc := app.Service{Scope: g.Scope, Name: parts[0], ID: app.ServiceID(parts[1])}
		return app.LogStreamKey{Group: svc.ServiceLogGroup("service"), Stream: "events"}
	}
	return app.LogStreamKey{Group: g, Stream: "funade/notices"}
}
