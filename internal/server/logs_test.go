package server_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs/types"
)

func (a *api) logsClient() *sdk.Client { return sdk.NewFromConfig(a.config) }

// put stores lines a second apart, the last one now.
func (a *api) put(group, stream string, lines ...string) {
	a.t.Helper()
	in := &sdk.PutLogEventsInput{LogGroupName: &group, LogStreamName: &stream}
	now := time.Now().UnixMilli()
	for n, line := range lines {
		in.LogEvents = append(in.LogEvents, types.InputLogEvent{Message: &line, Timestamp: aws.Int64(now - int64(len(lines)-n)*1000)})
	}
	out, err := a.logsClient().PutLogEvents(a.t.Context(), in)
	if err != nil || out.RejectedLogEventsInfo != nil || out.NextSequenceToken == nil {
		a.t.Fatalf("got %+v, %v", out, err)
	}
}

func (a *api) makeStream(group string, streams ...string) {
	a.t.Helper()
	c, ctx := a.logsClient(), a.t.Context()
	if _, err := c.CreateLogGroup(ctx, &sdk.CreateLogGroupInput{LogGroupName: &group, Tags: map[string]string{"a": "1"}}); err != nil {
		a.t.Fatal(err)
	}
	for _, s := range streams {
		if _, err := c.CreateLogStream(ctx, &sdk.CreateLogStreamInput{LogGroupName: &group, LogStreamName: &s}); err != nil {
			a.t.Fatal(err)
		}
	}
}

func TestLogGroups(t *testing.T) {
	a := newAPI(t)
	c, ctx := a.logsClient(), t.Context()
	a.makeStream("/my/group", "s1")
	group := aws.String("/my/group")
	_, err := c.CreateLogGroup(ctx, &sdk.CreateLogGroupInput{LogGroupName: group})
	wantError(t, err, "ResourceAlreadyExistsException", "")
	if _, err := c.PutRetentionPolicy(ctx, &sdk.PutRetentionPolicyInput{LogGroupName: group, RetentionInDays: aws.Int32(7)}); err != nil {
		t.Error(err)
	}
	_, err = c.PutRetentionPolicy(ctx, &sdk.PutRetentionPolicyInput{LogGroupName: group, RetentionInDays: aws.Int32(8)})
	wantError(t, err, "InvalidParameterException", "")
	a.put("/my/group", "s1", "hello")
	list, err := c.DescribeLogGroups(ctx, &sdk.DescribeLogGroupsInput{LogGroupNamePrefix: aws.String("/my")})
	if err != nil || len(list.LogGroups) != 1 {
		t.Fatalf("got %+v, %v", list, err)
	}
	g := list.LogGroups[0]
	arn := "arn:aws:logs:us-east-1:000000000000:log-group:/my/group"
	if *g.RetentionInDays != 7 || *g.Arn != arn+":*" || *g.LogGroupArn != arn || g.LogGroupClass != types.LogGroupClassStandard || time.Since(time.UnixMilli(*g.CreationTime)) > time.Minute {
		t.Errorf("got %+v", g)
	}
	if none, err := c.DescribeLogGroups(ctx, &sdk.DescribeLogGroupsInput{LogGroupNamePrefix: aws.String("/none")}); err != nil || len(none.LogGroups) != 0 {
		t.Errorf("got %+v, %v", none, err)
	}
	for _, form := range []string{arn, arn + ":*"} {
		tags, err := c.ListTagsForResource(ctx, &sdk.ListTagsForResourceInput{ResourceArn: &form})
		if err != nil || len(tags.Tags) != 1 || tags.Tags["a"] != "1" {
			t.Errorf("got %+v, %v", tags, err)
		}
	}
	_, err = c.ListTagsForResource(ctx, &sdk.ListTagsForResourceInput{ResourceArn: aws.String("arn:aws:logs:us-east-1:111111111111:log-group:/my/group")})
	wantError(t, err, "InvalidParameterException", "account")
	if _, err := c.DeleteLogGroup(ctx, &sdk.DeleteLogGroupInput{LogGroupName: group}); err != nil {
		t.Error(err)
	}
	_, err = c.DeleteLogGroup(ctx, &sdk.DeleteLogGroupInput{LogGroupName: group})
	wantError(t, err, "ResourceNotFoundException", "")
	a.makeStream("/my/group", "s1")
	got, err := c.GetLogEvents(ctx, &sdk.GetLogEventsInput{LogGroupName: group, LogStreamName: aws.String("s1")})
	if err != nil || len(got.Events) != 0 {
		t.Errorf("a group that was made again has %+v, %v", got, err)
	}
}

func TestLogStreams(t *testing.T) {
	a := newAPI(t)
	c, ctx := a.logsClient(), t.Context()
	a.makeStream("g", "a", "b", "c")
	a.put("g", "b", "older")
	time1, _ := c.DescribeLogStreams(ctx, &sdk.DescribeLogStreamsInput{LogGroupName: aws.String("g"), LogStreamNamePrefix: aws.String("b")})
	if s := time1.LogStreams[0]; s.LastEventTimestamp == nil || s.FirstEventTimestamp == nil || s.LastIngestionTime == nil {
		t.Errorf("got %+v", s)
	}
	names := func(in sdk.DescribeLogStreamsInput) (out string) {
		t.Helper()
		in.LogGroupName, in.Limit = aws.String("g"), aws.Int32(2)
		pages := sdk.NewDescribeLogStreamsPaginator(c, &in)
		for pages.HasMorePages() {
			p, err := pages.NextPage(ctx)
			if err != nil {
				t.Fatal(err)
			}
			for _, s := range p.LogStreams {
				out += *s.LogStreamName
			}
		}
		return out
	}
	if got := names(sdk.DescribeLogStreamsInput{}); got != "abc" {
		t.Errorf("by name: %s", got)
	}
	if got := names(sdk.DescribeLogStreamsInput{Descending: aws.Bool(true)}); got != "cba" {
		t.Errorf("by name, descending: %s", got)
	}
	if got := names(sdk.DescribeLogStreamsInput{OrderBy: types.OrderByLastEventTime, Descending: aws.Bool(true)}); got[:1] != "b" || len(got) != 3 {
		t.Errorf("by time, descending: %s", got)
	}
	_, err := c.DescribeLogStreams(ctx, &sdk.DescribeLogStreamsInput{LogGroupName: aws.String("g"), OrderBy: types.OrderByLastEventTime, LogStreamNamePrefix: aws.String("a")})
	wantError(t, err, "InvalidParameterException", "")
	_, err = c.DescribeLogStreams(ctx, &sdk.DescribeLogStreamsInput{LogGroupName: aws.String("none")})
	wantError(t, err, "ResourceNotFoundException", "")
	_, err = c.DescribeLogStreams(ctx, &sdk.DescribeLogStreamsInput{LogGroupName: aws.String("g"), LogGroupIdentifier: aws.String("g")})
	wantError(t, err, "InvalidParameterException", "")
	if _, err := c.DeleteLogStream(ctx, &sdk.DeleteLogStreamInput{LogGroupName: aws.String("g"), LogStreamName: aws.String("b")}); err != nil {
		t.Error(err)
	}
	if got := names(sdk.DescribeLogStreamsInput{}); got != "ac" {
		t.Errorf("after a delete: %s", got)
	}
	_, err = c.GetLogEvents(ctx, &sdk.GetLogEventsInput{LogGroupName: aws.String("g"), LogStreamName: aws.String("b")})
	wantError(t, err, "ResourceNotFoundException", "stream")
}

func TestGetLogEventsTokens(t *testing.T) {
	a := newAPI(t)
	c, ctx := a.logsClient(), t.Context()
	a.makeStream("g", "s")
	var lines []string
	for n := range 10 {
		lines = append(lines, fmt.Sprint(n))
	}
	a.put("g", "s", lines...)
	in := &sdk.GetLogEventsInput{LogGroupIdentifier: aws.String("arn:aws:logs:us-east-1:000000000000:log-group:g"), LogStreamName: aws.String("s"), StartFromHead: aws.Bool(true), Limit: aws.Int32(4)}
	var read string
	for {
		out, err := c.GetLogEvents(ctx, in)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range out.Events {
			read += *e.Message
		}
		if in.NextToken != nil && *in.NextToken == *out.NextForwardToken {
			break // the end: the same token comes back
		}
		in.NextToken = out.NextForwardToken
	}
	if read != "0123456789" {
		t.Errorf("read %s", read)
	}
	last, err := c.GetLogEvents(ctx, &sdk.GetLogEventsInput{LogGroupName: aws.String("g"), LogStreamName: aws.String("s"), Limit: aws.Int32(2)})
	if err != nil || len(last.Events) != 2 || *last.Events[0].Message != "8" {
		t.Errorf("the end of the stream is %+v, %v", last, err)
	}
	_, err = c.GetLogEvents(ctx, &sdk.GetLogEventsInput{LogGroupName: aws.String("g"), LogStreamName: aws.String("s"), NextToken: aws.String("bad")})
	wantError(t, err, "InvalidParameterException", "")
}

func TestFilterLogEvents(t *testing.T) {
	a := newAPI(t)
	c, ctx := a.logsClient(), t.Context()
	a.makeStream("g", "web/1", "web/2", "job/1")
	a.put("g", "web/1", `{"level":"error","n":1}`, `{"level":"info","n":2}`)
	a.put("g", "web/2", "ERROR disk full", "INFO fine")
	a.put("g", "job/1", "ERROR job")
	count := func(want int, change func(*sdk.FilterLogEventsInput)) {
		t.Helper()
		in := &sdk.FilterLogEventsInput{LogGroupName: aws.String("g"), Limit: aws.Int32(2)}
		change(in)
		got := 0
		pages := sdk.NewFilterLogEventsPaginator(c, in)
		for pages.HasMorePages() {
			p, err := pages.NextPage(ctx)
			if err != nil {
				t.Fatal(err)
			}
			for _, e := range p.Events {
				if *e.EventId == "" || *e.LogStreamName == "" || *e.IngestionTime < *e.Timestamp {
					t.Errorf("got %+v", e)
				}
				got++
			}
		}
		if got != want {
			t.Errorf("%v: %d events, want %d", aws.ToString(in.FilterPattern), got, want)
		}
	}
	count(5, func(*sdk.FilterLogEventsInput) {})
	count(2, func(in *sdk.FilterLogEventsInput) { in.FilterPattern = aws.String("ERROR") })
	count(1, func(in *sdk.FilterLogEventsInput) { in.FilterPattern = aws.String(`{ $.level = "error" }`) })
	count(1, func(in *sdk.FilterLogEventsInput) { in.FilterPattern = aws.String("ERROR -disk") })
	count(4, func(in *sdk.FilterLogEventsInput) { in.LogStreamNamePrefix = aws.String("web/") })
	count(1, func(in *sdk.FilterLogEventsInput) { in.LogStreamNames = []string{"job/1"} })
	count(0, func(in *sdk.FilterLogEventsInput) { in.EndTime = aws.Int64(1000) })
	_, err := c.FilterLogEvents(ctx, &sdk.FilterLogEventsInput{LogGroupName: aws.String("g"), FilterPattern: aws.String("{ $.a = ")})
	wantError(t, err, "InvalidParameterException", "")
	_, err = c.FilterLogEvents(ctx, &sdk.FilterLogEventsInput{LogGroupName: aws.String("none")})
	wantError(t, err, "ResourceNotFoundException", "")
}

func TestPutLogEventsRejects(t *testing.T) {
	a := newAPI(t)
	c, ctx := a.logsClient(), t.Context()
	a.makeStream("g", "s")
	put := func(stream string, times ...time.Time) (*sdk.PutLogEventsOutput, error) {
		in := &sdk.PutLogEventsInput{LogGroupName: aws.String("g"), LogStreamName: &stream}
		for _, at := range times {
			in.LogEvents = append(in.LogEvents, types.InputLogEvent{Message: aws.String("x"), Timestamp: aws.Int64(at.UnixMilli())})
		}
		return c.PutLogEvents(ctx, in)
	}
	now := time.Now()
	out, err := put("s", now, now.Add(3*time.Hour))
	if err != nil || out.RejectedLogEventsInfo == nil || *out.RejectedLogEventsInfo.TooNewLogEventStartIndex != 1 || out.RejectedLogEventsInfo.TooOldLogEventEndIndex != nil {
		t.Errorf("got %+v, %v", out, err)
	}
	if out, err = put("s", now.Add(-15*24*time.Hour)); err != nil || *out.RejectedLogEventsInfo.TooOldLogEventEndIndex != 1 {
		t.Errorf("got %+v, %v", out, err)
	}
	_, err = put("s", now, now.Add(-time.Second))
	wantError(t, err, "InvalidParameterException", "chronological")
	_, err = put("none", now)
	wantError(t, err, "ResourceNotFoundException", "log stream")
	got, err := c.GetLogEvents(ctx, &sdk.GetLogEventsInput{LogGroupName: aws.String("g"), LogStreamName: aws.String("s")})
	if err != nil || len(got.Events) != 1 {
		t.Errorf("stored are %+v, %v", got, err)
	}
}
