package cli

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/apprunner/types"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	logtypes "github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs/types"
)

const (
	followEvery = 500 * time.Millisecond
	// followOverlap is how far back each poll looks, for lines that were collected late.
	followOverlap = 10 * time.Second
	maxTail       = 100_000
)

type logsCmd struct {
	connectFlags
	Service    string        `arg:"" help:"Name or ARN of the service."`
	Follow     bool          `short:"f" help:"Go on printing new lines."`
	Events     bool          `help:"What Funade did for the service instead of what the application wrote." xor:"what"`
	Deployment string        `help:"The log of one operation." placeholder:"ID" xor:"what"`
	Instance   string        `help:"Lines of one instance only." placeholder:"ID"`
	Since      time.Duration `help:"Lines of the last while only, such as 10m."`
	Tail       int           `short:"n" help:"The last N lines only." placeholder:"N"`
	Filter     string        `help:"CloudWatch Logs filter pattern." placeholder:"PATTERN"`
}

// Run prints the lines, oldest first.
func (c *logsCmd) Run(s *session) error {
	if c.Tail < 0 || c.Tail > maxTail {
		return usagef("--tail %d: give a number from 1 to %d", c.Tail, maxTail)
	}
	cl, err := c.connect(s)
	if err != nil {
		return err
	}
	svc, err := cl.service(s.ctx, c.Service)
	if err != nil {
		return err
	}
	r := &logReader{c: cl, in: c.request(svc), seen: map[string]int64{}}
	print := func(e logtypes.FilteredLogEvent) error { return c.print(s, e) }
	if c.Tail > 0 {
		print = r.keepLast(c.Tail)
	}
	if err := r.read(s.ctx, print); err != nil {
		return err
	}
	for _, e := range r.last {
		if err := c.print(s, e); err != nil {
			return err
		}
	}
	for c.Follow {
		if err := pause(s.ctx, followEvery); err != nil {
			return nil // the user has seen enough
		}
		err := r.read(s.ctx, func(e logtypes.FilteredLogEvent) error { return c.print(s, e) })
		if err != nil && s.ctx.Err() == nil {
			return err
		}
	}
	return nil
}

func (c *logsCmd) request(svc *types.Service) *cloudwatchlogs.FilterLogEventsInput {
	in := &cloudwatchlogs.FilterLogEventsInput{LogGroupName: aws.String(logGroup(svc, "application"))}
	switch {
	case c.Events:
		in.LogGroupName, in.LogStreamNames = aws.String(logGroup(svc, "service")), []string{"events"}
	case c.Deployment != "":
		in.LogGroupName = aws.String(logGroup(svc, "service"))
		in.LogStreamNames = []string{"deployment/" + strings.ReplaceAll(c.Deployment, "-", "")}
	case c.Instance != "":
		in.LogStreamNames = []string{"instance/" + c.Instance}
	}
	if c.Filter != "" {
		in.FilterPattern = aws.String(c.Filter)
	}
	if c.Since > 0 {
		in.StartTime = aws.Int64(time.Now().Add(-c.Since).UnixMilli())
	}
	return in
}

// logLine is what logs --json prints, one document a line.
type logLine struct {
	Time    time.Time `json:"time"`
	Stream  string    `json:"stream"`
	Message string    `json:"message"`
}

func (c *logsCmd) print(s *session, e logtypes.FilteredLogEvent) error {
	at := time.UnixMilli(aws.ToInt64(e.Timestamp))
	message := strings.TrimRight(aws.ToString(e.Message), "\n")
	if c.JSON {
		return printJSONLine(s.Stdout, logLine{at.UTC(), aws.ToString(e.LogStreamName), message})
	}
	_, err := fmt.Fprintf(s.Stdout, "%s %s %s\n", at.Local().Format("2006-01-02T15:04:05.000"), shortStream(aws.ToString(e.LogStreamName)), message)
	return err
}

// shortStream names an instance by its first eight digits.
func shortStream(stream string) string {
	_, id, ok := strings.Cut(stream, "/")
	if !ok {
		return stream
	}
	return id[:min(8, len(id))]
}

// logReader reads a group again and again without repeating an event.
type logReader struct {
	c      *clients
	in     *cloudwatchlogs.FilterLogEventsInput
	seen   map[string]int64 // event id to timestamp, of the overlap only
	newest int64
	last   []logtypes.FilteredLogEvent
}

// keepLast returns a sink that keeps the last n events.
func (r *logReader) keepLast(n int) func(logtypes.FilteredLogEvent) error {
	return func(e logtypes.FilteredLogEvent) error {
		if r.last = append(r.last, e); len(r.last) >= 2*n {
			r.last = append(r.last[:0], r.last[len(r.last)-n:]...)
		}
		if len(r.last) > n {
			r.last = r.last[len(r.last)-n:]
		}
		return nil
	}
}

// read gives sink the events that it has not had, oldest first. A group that does not exist holds none.
func (r *logReader) read(ctx context.Context, sink func(logtypes.FilteredLogEvent) error) error {
	for p := cloudwatchlogs.NewFilterLogEventsPaginator(r.c.logs, r.in); p.HasMorePages(); {
		page, err := p.NextPage(ctx)
		if isCode(err, "ResourceNotFoundException") {
			return nil
		}
		if err != nil {
			return err
		}
		for _, e := range page.Events {
			id, at := aws.ToString(e.EventId), aws.ToInt64(e.Timestamp)
			if _, dup := r.seen[id]; dup {
				continue
			}
			r.seen[id], r.newest = at, max(r.newest, at)
			if err := sink(e); err != nil {
				return err
			}
		}
	}
	r.advance()
	return nil
}

// advance moves the window of the next read and forgets what lies before it.
func (r *logReader) advance() {
	from := r.newest - followOverlap.Milliseconds()
	if from <= aws.ToInt64(r.in.StartTime) {
		return
	}
	r.in.StartTime = aws.Int64(from)
	for id, at := range r.seen {
		if at < from {
			delete(r.seen, id)
		}
	}
}
