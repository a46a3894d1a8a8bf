package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/apprunner"
	"github.com/aws/aws-sdk-go-v2/service/apprunner/types"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
)

const (
	watchEvery = 300 * time.Millisecond
	// lastEvents bounds the wait for the events that are shipped to the logs after an operation has ended.
	lastEvents = 2 * time.Second
	lastLines  = 10
)

// failedOperation is an operation that ended otherwise than wanted.
type failedOperation struct {
	service, kind, status, reason string
}

// Error names the operation and why it failed.
func (e *failedOperation) Error() string {
	text := fmt.Sprintf("%s of %s ended %s", e.kind, e.service, e.status)
	if e.reason != "" {
		text += ": " + e.reason
	}
	if e.status == string(types.OperationStatusRollbackSucceeded) {
		text += "\nThe revision that served before goes on serving."
	}
	return text
}

// watcher follows one operation.
type watcher struct {
	c         *clients
	service   *types.Service
	operation string
	progress  io.Writer

	since  time.Time
	seen   map[string]bool // event texts of this operation, so that two streams do not say a thing twice
	reason string          // the latest event that tells of a failure
	final  bool            // the event that ends every operation has been seen
}

// wait prints the operation's events until it ends; the error says why it did not succeed.
func (c *clients) wait(ctx context.Context, s *types.Service, operation string, progress io.Writer) error {
	w := &watcher{c: c, service: s, operation: operation, progress: progress, seen: map[string]bool{}}
	for {
		op, err := w.lookup(ctx)
		if err != nil {
			return err
		}
		w.since = aws.ToTime(op.StartedAt)
		ended := op.EndedAt != nil
		if err := w.events(ctx); err != nil {
			return err
		}
		if ended {
			return w.finish(ctx, op)
		}
		if err := pause(ctx, watchEvery); err != nil {
			return err
		}
	}
}

func (w *watcher) lookup(ctx context.Context) (*types.OperationSummary, error) {
	in := &apprunner.ListOperationsInput{ServiceArn: w.service.ServiceArn}
	for p := apprunner.NewListOperationsPaginator(w.c.apprunner, in); p.HasMorePages(); {
		page, err := p.NextPage(ctx)
		if err != nil {
			return nil, err
		}
		for i := range page.OperationSummaryList {
			if aws.ToString(page.OperationSummaryList[i].Id) == w.operation {
				return &page.OperationSummaryList[i], nil
			}
		}
	}
	return nil, fmt.Errorf("cannot follow operation %s: the server does not list it", w.operation)
}

// events prints what is new in the streams of the operation.
func (w *watcher) events(ctx context.Context) error {
	in := &cloudwatchlogs.FilterLogEventsInput{
		LogGroupName:   aws.String(logGroup(w.service, "service")),
		LogStreamNames: []string{"events", "deployment/" + strings.ReplaceAll(w.operation, "-", "")},
		StartTime:      aws.Int64(w.since.UnixMilli()),
	}
	for p := cloudwatchlogs.NewFilterLogEventsPaginator(w.c.logs, in); p.HasMorePages(); {
		page, err := p.NextPage(ctx)
		if isCode(err, "ResourceNotFoundException") { // the group appears with the first event
			return nil
		}
		if err != nil {
			return err
		}
		for _, e := range page.Events {
			w.event(time.UnixMilli(aws.ToInt64(e.Timestamp)), aws.ToString(e.Message))
		}
	}
	return nil
}

func (w *watcher) event(at time.Time, message string) {
	text := strings.TrimSpace(strings.TrimPrefix(strings.TrimSpace(message), "[AppRunner]"))
	if text == "" || w.seen[text] {
		return
	}
	w.seen[text] = true
	fmt.Fprintf(w.progress, "  %s  %s\n", at.Local().Format(time.TimeOnly), text)
	if status, ok := strings.CutPrefix(text, "Service status is set to "); ok {
		w.final = w.final || !strings.HasPrefix(status, string(types.ServiceStatusOperationInProgress))
		return
	}
	if tellsFailure(text) && (w.reason == "" || len(text) > len(w.reason) || strings.Contains(text, "reason")) {
		w.reason = text
	}
}

func tellsFailure(text string) bool {
	lower := strings.ToLower(text)
	return strings.Contains(lower, "fail") || strings.Contains(lower, "cannot") || strings.Contains(lower, "stopped")
}

// finish waits for the last events, shows the application's last lines after a failure and returns the verdict.
func (w *watcher) finish(ctx context.Context, op *types.OperationSummary) error {
	for deadline := time.Now().Add(lastEvents); !w.final && time.Now().Before(deadline); {
		if err := pause(ctx, watchEvery/3); err != nil {
			return err
		}
		if err := w.events(ctx); err != nil {
			return err
		}
	}
	if op.Status == types.OperationStatusSucceeded {
		return nil
	}
	w.applicationLines(ctx)
	return &failedOperation{aws.ToString(w.service.ServiceName), string(op.Type), string(op.Status), w.reason}
}

// applicationLines prints the last lines that the application wrote during the operation. It is a help only, so
// its own failures are not told.
func (w *watcher) applicationLines(ctx context.Context) {
	var lines []string
	in := &cloudwatchlogs.FilterLogEventsInput{
		LogGroupName: aws.String(logGroup(w.service, "application")), StartTime: aws.Int64(w.since.UnixMilli()),
	}
	for p := cloudwatchlogs.NewFilterLogEventsPaginator(w.c.logs, in); p.HasMorePages(); {
		page, err := p.NextPage(ctx)
		if err != nil {
			break
		}
		for _, e := range page.Events {
			lines = append(lines, aws.ToString(e.Message))
		}
		lines = lines[max(0, len(lines)-lastLines):]
	}
	if len(lines) == 0 {
		return
	}
	fmt.Fprintln(w.progress, "The application's last lines:")
	for _, l := range lines {
		fmt.Fprintf(w.progress, "  | %s\n", strings.TrimRight(l, "\n"))
	}
}

// pause waits, or returns ctx's error.
func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return errors.Join(ctx.Err())
	case <-t.C:
		return nil
	}
}
