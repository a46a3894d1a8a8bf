package main

import (
	"context"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/funade/funade/internal/app"
	"github.com/funade/funade/internal/logs"
)

// flowQueue is how many records of flow logs may wait to be written; more are dropped and counted.
const flowQueue = 20_000

type flowRecord struct {
	key   app.LogStreamKey
	event app.LogEvent
}

// flowRecords writes the records of VPCs' flow logs into log groups, so that the data plane never waits for a disk.
type flowRecords struct {
	queue   chan flowRecord
	dropped atomic.Int64
}

func newFlowRecords() *flowRecords { return &flowRecords{queue: make(chan flowRecord, flowQueue)} }

// take is the data plane's sink.
func (f *flowRecords) take(log app.FlowLog, stream string, at time.Time, record string) {
	r := flowRecord{app.LogStreamKey{Group: log.Group, Stream: stream}, app.LogEvent{Timestamp: at, Message: record}}
	select {
	case f.queue <- r:
	default:
		f.dropped.Add(1)
	}
}

// run writes until ctx ends, one append for the records of a stream that wait together.
func (f *flowRecords) run(ctx context.Context, store *logs.Store, groups logs.Groups) {
	for {
		select {
		case <-ctx.Done():
			return
		case r := <-f.queue:
			waiting := map[app.LogStreamKey][]app.LogEvent{r.key: {r.event}}
			for range len(f.queue) {
				next := <-f.queue
				waiting[next.key] = append(waiting[next.key], next.event)
			}
			f.write(ctx, store, groups, waiting)
		}
	}
}

func (f *flowRecords) write(ctx context.Context, store *logs.Store, groups logs.Groups, waiting map[app.LogStreamKey][]app.LogEvent) {
	for key, events := range waiting {
		err := groups.Ensure(ctx, key)
		if err == nil {
			err = store.Append(ctx, key, events)
		}
		if err != nil && ctx.Err() == nil {
			slog.Warn("cannot write a flow log", "group", key.Group.Name, "records", len(events), "error", err)
		}
	}
	if n := f.dropped.Swap(0); n > 0 {
		slog.Warn("records of flow logs were dropped: too many waited to be written", "records", n)
	}
}
