package logs

import (
	"context"
	"strconv"
	"time"

	"github.com/funade/funade/internal/app"
	api "github.com/funade/funade/internal/aws/api/logs"
	"github.com/funade/funade/internal/control"
	"github.com/funade/funade/internal/logs"
	"github.com/funade/funade/internal/server/caller"
	"github.com/funade/funade/internal/server/member"
)

// CreateLogStream makes a stream.
func (h *Handler) CreateLogStream(ctx context.Context, in *api.CreateLogStreamInput) (*api.CreateLogStreamOutput, error) {
	if err := h.control.CreateLogStream(ctx, streamKey(ctx, *in.LogGroupName, *in.LogStreamName)); err != nil {
		return nil, wireError(err)
	}
	return &api.CreateLogStreamOutput{}, nil
}

func streamKey(ctx context.Context, group, stream string) app.LogStreamKey {
	return app.LogStreamKey{Group: app.LogGroupKey{Scope: caller.Scope(ctx), Name: group}, Stream: stream}
}

// DeleteLogStream removes a stream with its events.
func (h *Handler) DeleteLogStream(ctx context.Context, in *api.DeleteLogStreamInput) (*api.DeleteLogStreamOutput, error) {
	key := streamKey(ctx, *in.LogGroupName, *in.LogStreamName)
	if err := h.control.DeleteLogStream(ctx, key); err != nil {
		return nil, wireError(err)
	}
	if err := h.store.DeleteStream(ctx, key); err != nil {
		return nil, wireError(err)
	}
	return &api.DeleteLogStreamOutput{}, nil
}

// DescribeLogStreams lists a group's streams by name or by the time of their last event.
func (h *Handler) DescribeLogStreams(ctx context.Context, in *api.DescribeLogStreamsInput) (*api.DescribeLogStreamsOutput, error) {
	key, err := groupKey(ctx, in.LogGroupName, in.LogGroupIdentifier)
	if err != nil {
		return nil, err
	}
	byTime := in.OrderBy == api.OrderByLastEventTime
	if byTime && in.LogStreamNamePrefix != nil {
		return nil, invalid("logStreamNamePrefix cannot be given when orderBy is LastEventTime; leave one out.")
	}
	infos, err := h.store.StreamInfos(ctx, key)
	if err != nil {
		return nil, wireError(err)
	}
	if byTime || member.Value(in.Descending) {
		return h.sortedStreams(ctx, key, in, infos)
	}
	found, err := h.control.DescribeLogStreams(ctx, key, member.Value(in.LogStreamNamePrefix), page(in.Limit, in.NextToken))
	if err != nil {
		return nil, wireError(err)
	}
	return &api.DescribeLogStreamsOutput{NextToken: member.Text(found.NextToken), LogStreams: streams(found.Items, infos)}, nil
}

// sortedStreams answers the orders that the rows do not have; its tokens are positions in that order.
func (h *Handler) sortedStreams(ctx context.Context, key app.LogGroupKey, in *api.DescribeLogStreamsInput, infos map[string]logs.StreamInfo) (*api.DescribeLogStreamsOutput, error) {
	found, err := h.control.DescribeLogStreams(ctx, key, member.Value(in.LogStreamNamePrefix), control.PageRequest{})
	if err != nil {
		return nil, wireError(err)
	}
	rows := make(map[string]app.LogStream, len(found.Items))
	names := make([]string, len(found.Items))
	for n, row := range found.Items {
		names[n], rows[row.Key.Stream] = row.Key.Stream, row
	}
	logs.OrderStreams(names, infos, in.OrderBy == api.OrderByLastEventTime, member.Value(in.Descending))
	all := make([]app.LogStream, len(names))
	for n, name := range names {
		all[n] = rows[name]
	}
	from := 0
	if in.NextToken != nil {
		if from, err = strconv.Atoi(*in.NextToken); err != nil || from < 0 || from > len(all) {
			return nil, invalid("The specified nextToken is invalid.")
		}
	}
	to := min(len(all), from+page(in.Limit, nil).MaxResults)
	out := &api.DescribeLogStreamsOutput{LogStreams: streams(all[from:to], infos)}
	if to < len(all) {
		out.NextToken = new(strconv.Itoa(to))
	}
	return out, nil
}

func streams(rows []app.LogStream, infos map[string]logs.StreamInfo) []api.LogStream {
	out := []api.LogStream{}
	for _, s := range rows {
		info := infos[s.Key.Stream]
		out = append(out, api.LogStream{
			LogStreamName: new(s.Key.Stream), CreationTime: member.Millis(s.CreatedAt),
			Arn:                 new(s.Key.Group.ARN() + ":log-stream:" + s.Key.Stream),
			FirstEventTimestamp: member.Millis(info.FirstEvent), LastEventTimestamp: member.Millis(info.LastEvent),
			LastIngestionTime: member.Millis(info.LastIngestion), StoredBytes: new(info.StoredBytes),
		})
	}
	return out
}

// PutLogEvents stores a batch; events that are too old or too new are left out and told.
func (h *Handler) PutLogEvents(ctx context.Context, in *api.PutLogEventsInput) (*api.PutLogEventsOutput, error) {
	key := streamKey(ctx, *in.LogGroupName, *in.LogStreamName)
	group, err := h.stream(ctx, key)
	if err != nil {
		return nil, wireError(err)
	}
	events := make([]app.LogEvent, len(in.LogEvents))
	for n, e := range in.LogEvents {
		events[n] = app.LogEvent{Timestamp: time.UnixMilli(*e.Timestamp), Message: *e.Message}
	}
	from, to, rejected, err := logs.CheckBatch(events, h.now(), group.RetentionDays)
	if err != nil {
		return nil, wireError(err)
	}
	if to > from {
		if err := h.store.Append(ctx, key, events[from:to]); err != nil {
			return nil, wireError(err)
		}
	}
	out := &api.PutLogEventsOutput{NextSequenceToken: new("1")} // sequence tokens are ignored since 2023, and still answered
	if rejected.Any() {
		out.RejectedLogEventsInfo = &api.RejectedLogEventsInfo{
			TooNewLogEventStartIndex: index(rejected.TooNewStart), TooOldLogEventEndIndex: index(rejected.TooOldEnd), ExpiredLogEventEndIndex: index(rejected.ExpiredEnd),
		}
	}
	return out, nil
}

func index(n int) *int32 {
	if n < 0 {
		return nil
	}
	return member.Int32(n)
}

// stream checks that a stream exists and returns its group.
func (h *Handler) stream(ctx context.Context, key app.LogStreamKey) (app.LogGroup, error) {
	group, err := h.control.LogGroup(ctx, key.Group)
	if err != nil {
		return group, err
	}
	found, err := h.control.DescribeLogStreams(ctx, key.Group, key.Stream, control.PageRequest{MaxResults: 1})
	if err != nil {
		return group, err
	}
	if len(found.Items) == 0 || found.Items[0].Key.Stream != key.Stream {
		return group, app.Errorf(app.KindNotFound, key.Stream, "The specified log stream does not exist.")
	}
	return group, nil
}

// GetLogEvents reads a stream.
func (h *Handler) GetLogEvents(ctx context.Context, in *api.GetLogEventsInput) (*api.GetLogEventsOutput, error) {
	group, err := groupKey(ctx, in.LogGroupName, in.LogGroupIdentifier)
	if err != nil {
		return nil, err
	}
	key := app.LogStreamKey{Group: group, Stream: *in.LogStreamName}
	if _, err := h.stream(ctx, key); err != nil {
		return nil, wireError(err)
	}
	got, err := h.store.GetEvents(ctx, logs.GetEventsInput{
		Stream: key, Start: moment(in.StartTime), End: moment(in.EndTime), FromHead: member.Value(in.StartFromHead),
		Limit: int(member.Value(in.Limit)), Token: member.Value(in.NextToken),
	})
	if err != nil {
		return nil, wireError(err)
	}
	out := &api.GetLogEventsOutput{NextForwardToken: &got.ForwardToken, NextBackwardToken: &got.BackwardToken, Events: []api.OutputLogEvent{}}
	for _, e := range got.Events {
		out.Events = append(out.Events, api.OutputLogEvent{
			Timestamp: member.Millis(e.Timestamp), IngestionTime: member.Millis(e.Ingested), Message: new(e.Message),
		})
	}
	return out, nil
}

func moment(millis *int64) time.Time {
	if millis == nil {
		return time.Time{}
	}
	return time.UnixMilli(*millis)
}

// FilterLogEvents reads the events of many streams that match a pattern.
func (h *Handler) FilterLogEvents(ctx context.Context, in *api.FilterLogEventsInput) (*api.FilterLogEventsOutput, error) {
	group, err := groupKey(ctx, in.LogGroupName, in.LogGroupIdentifier)
	if err != nil {
		return nil, err
	}
	if _, err := h.control.LogGroup(ctx, group); err != nil {
		return nil, wireError(err)
	}
	input := logs.FilterInput{
		Group: group, Streams: in.LogStreamNames, Prefix: member.Value(in.LogStreamNamePrefix),
		Start: moment(in.StartTime), End: moment(in.EndTime), Limit: int(member.Value(in.Limit)), Token: member.Value(in.NextToken),
	}
	if p := member.Value(in.FilterPattern); p != "" {
		if input.Pattern, err = logs.ParsePattern(p); err != nil {
			return nil, wireError(err)
		}
	}
	got, err := h.store.Filter(ctx, input)
	if err != nil {
		return nil, wireError(err)
	}
	out := &api.FilterLogEventsOutput{NextToken: member.Text(got.NextToken), Events: []api.FilteredLogEvent{}, SearchedLogStreams: []api.SearchedLogStream{}}
	for _, e := range got.Events {
		out.Events = append(out.Events, api.FilteredLogEvent{
			LogStreamName: new(e.Stream), Timestamp: member.Millis(e.Timestamp), IngestionTime: member.Millis(e.Ingested),
			Message: new(e.Message), EventId: new(e.ID),
		})
	}
	for _, s := range got.Searched {
		out.SearchedLogStreams = append(out.SearchedLogStreams, api.SearchedLogStream{LogStreamName: new(s.Name), SearchedCompletely: new(s.Complete)})
	}
	return out, nil
}
