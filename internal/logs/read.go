package logs

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"time"

	"github.com/funade/funade/internal/app"
)

// codeInvalidParameter is the CloudWatch Logs error code of every refusal here.
const codeInvalidParameter = "InvalidParameterException"

func invalid(field, format string, args ...any) error {
	e := app.Errorf(app.KindInvalidRequest, field, format, args...)
	e.Code = codeInvalidParameter
	return e
}

// GetEventsInput selects a page of one stream (GetLogEvents).
type GetEventsInput struct {
	Stream app.LogStreamKey
	// Start is included, End is not; zero = unbounded.
	Start, End time.Time
	// FromHead begins with the oldest events; else the page is the newest. A token overrides it.
	FromHead bool
	// Limit is at most MaxPageEvents; 0 = that.
	Limit int
	// Token is "" or one of the tokens of an earlier page.
	Token string
}

// GetEventsOutput is a page in ascending order. Both tokens are always set. A page without events
// gives the request's token back in its direction: the end, for now.
type GetEventsOutput struct {
	Events        []Event
	ForwardToken  string
	BackwardToken string
}

const (
	forwardPrefix  = "f/"
	backwardPrefix = "b/"
	filterPrefix   = "n/"
)

// GetEvents reads a page of a stream. A stream without events, or without existence, is empty.
func (s *Store) GetEvents(ctx context.Context, in GetEventsInput) (GetEventsOutput, error) {
	desc := !in.FromHead
	var at position
	if in.Token != "" {
		var ok bool
		if desc = strings.HasPrefix(in.Token, backwardPrefix); !desc && !strings.HasPrefix(in.Token, forwardPrefix) {
			return GetEventsOutput{}, invalid("nextToken", "The specified nextToken is invalid.")
		}
		if at, ok = parsePosition(in.Token[len(forwardPrefix):]); !ok {
			return GetEventsOutput{}, invalid("nextToken", "The specified nextToken is invalid.")
		}
	}
	sc := s.newScan(groupDir(in.Stream.Group), desc, in.Limit)
	sc.stream = func(name string) bool { return name == in.Stream.Stream }
	sc.from = millis(in.Start, 0)
	if !in.End.IsZero() {
		sc.to = in.End.UnixMilli() - 1
	}
	if in.Token != "" {
		sc.after = at
	}
	if err := sc.run(ctx); err != nil {
		return GetEventsOutput{}, err
	}
	entries := sc.page.entries()
	first, last := at, at
	switch {
	case len(entries) > 0:
		first, last = entries[0].at, entries[len(entries)-1].at
	case in.Token == "": // nothing in the range yet: what comes is behind the start
		first = position{ts: max(0, min(sc.from, maxTimestamp))}
		last = first
	case desc: // whoever turns around sees the event that the token names
		last = at.before()
	default:
		first = at.after()
	}
	return GetEventsOutput{Events: toEvents(entries), ForwardToken: forwardPrefix + last.id(), BackwardToken: backwardPrefix + first.id()}, nil
}

func millis(t time.Time, zero int64) int64 {
	if t.IsZero() {
		return zero
	}
	return t.UnixMilli()
}

// FilterInput selects events of a group across streams (FilterLogEvents).
type FilterInput struct {
	Group app.LogGroupKey
	// Streams names up to 100 streams; Prefix selects by prefix; with neither all streams are searched.
	Streams []string
	Prefix  string
	// Start and End are included; zero = unbounded.
	Start, End time.Time
	// Pattern is nil for everything.
	Pattern *Pattern
	// Limit is at most MaxPageEvents; 0 = that.
	Limit int
	Token string
}

// FilterOutput is a page in ascending order of time.
type FilterOutput struct {
	Events []Event
	// NextToken is "" when everything has been searched. A page may be empty and have one: the scan of a
	// large group answers in steps.
	NextToken string
	// Searched names up to 100 of the streams with events in the searched range.
	Searched []SearchedStream
}

// SearchedStream says whether a stream has been searched to the end.
type SearchedStream struct {
	Name     string
	Complete bool
}

const maxSearched = 100

// Filter reads a page of matching events.
func (s *Store) Filter(ctx context.Context, in FilterInput) (FilterOutput, error) {
	if len(in.Streams) > 0 && in.Prefix != "" {
		return FilterOutput{}, invalid("logStreamNames", "logStreamNames and logStreamNamePrefix cannot both be given; leave one out.")
	}
	if len(in.Streams) > 100 {
		return FilterOutput{}, invalid("logStreamNames", "%d logStreamNames were given; at most 100 are allowed.", len(in.Streams))
	}
	sc := s.newScan(groupDir(in.Group), false, in.Limit)
	if in.Token != "" {
		at, ok := parsePosition(strings.TrimPrefix(in.Token, filterPrefix))
		if !ok || !strings.HasPrefix(in.Token, filterPrefix) {
			return FilterOutput{}, invalid("nextToken", "The specified nextToken is invalid.")
		}
		sc.after = at
	}
	sc.from = millis(in.Start, 0)
	if !in.End.IsZero() {
		sc.to = in.End.UnixMilli()
	}
	sc.stream = selectStreams(in.Streams, in.Prefix)
	sc.pattern = in.Pattern
	sc.budget = s.scanLimit
	seen := map[string]struct{}{}
	sc.visit = func(name string) {
		if len(seen) < maxSearched {
			seen[name] = struct{}{}
		}
	}
	if err := sc.run(ctx); err != nil {
		return FilterOutput{}, err
	}
	entries := sc.page.entries()
	out := FilterOutput{Events: toEvents(entries)}
	switch {
	case sc.stopped:
		out.NextToken = filterPrefix + sc.resume.id()
	case sc.page.full:
		out.NextToken = filterPrefix + entries[len(entries)-1].at.id()
	}
	for name := range seen {
		out.Searched = append(out.Searched, SearchedStream{Name: name, Complete: out.NextToken == ""})
	}
	slices.SortFunc(out.Searched, func(a, b SearchedStream) int { return cmp.Compare(a.Name, b.Name) })
	return out, nil
}

func selectStreams(names []string, prefix string) func(string) bool {
	if len(names) == 0 {
		return func(name string) bool { return strings.HasPrefix(name, prefix) }
	}
	set := make(map[string]struct{}, len(names))
	for _, n := range names {
		set[n] = struct{}{}
	}
	return func(name string) bool { _, ok := set[name]; return ok }
}

// StreamInfo is what DescribeLogStreams tells of a stream beyond its control row.
type StreamInfo struct {
	FirstEvent, LastEvent time.Time
	LastIngestion         time.Time
	Events                int64
	// StoredBytes counts messages, uncompressed.
	StoredBytes int64
}

// StreamInfos returns what is known of each stream of a group that has events.
func (s *Store) StreamInfos(ctx context.Context, key app.LogGroupKey) (map[string]StreamInfo, error) {
	dir := groupDir(key)
	sc := s.newScan(dir, false, 0)
	infos := map[string]StreamInfo{}
	for _, day := range sc.days() {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		sources, deleted, err := s.sources(dir, day)
		if err != nil {
			return nil, err
		}
		for i := range sources {
			for _, st := range sources[i].streams {
				if sources[i].lastLSN > deleted[st.name] {
					infos[st.name] = infos[st.name].with(st)
				}
			}
		}
	}
	return infos, nil
}

func (i StreamInfo) with(st streamStat) StreamInfo {
	first, last, ingested := time.UnixMilli(st.first).UTC(), time.UnixMilli(st.last).UTC(), time.UnixMilli(st.ingested).UTC()
	if i.Events == 0 || first.Before(i.FirstEvent) {
		i.FirstEvent = first
	}
	if last.After(i.LastEvent) {
		i.LastEvent = last
	}
	if ingested.After(i.LastIngestion) {
		i.LastIngestion = ingested
	}
	i.Events += st.events
	i.StoredBytes += st.bytes
	return i
}

// OrderStreams sorts stream names as DescribeLogStreams does: by the time of the last event (streams
// without events first) or by name.
func OrderStreams(names []string, infos map[string]StreamInfo, byLastEvent, descending bool) {
	slices.SortFunc(names, func(a, b string) int {
		c := 0
		if byLastEvent {
			c = infos[a].LastEvent.Compare(infos[b].LastEvent)
		}
		if c == 0 {
			c = cmp.Compare(a, b)
		}
		if descending {
			return -c
		}
		return c
	})
}
