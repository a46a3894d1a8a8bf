package logs

import "time"

// Limits of the CloudWatch Logs API (model 2014-03-28, PutLogEvents, GetLogEvents, FilterLogEvents).
const (
	// MaxBatchBytes bounds a PutLogEvents batch: messages in UTF-8 plus EventOverhead each.
	MaxBatchBytes = 1_048_576
	// EventOverhead is what each event adds to a batch's size, in bytes.
	EventOverhead = 26
	// MaxBatchEvents bounds the number of events in a PutLogEvents batch.
	MaxBatchEvents = 10_000
	// MaxEventBytes bounds one event, overhead included.
	MaxEventBytes = 256 << 10
	// MaxBatchSpan is the time that a batch may span.
	MaxBatchSpan = 24 * time.Hour
	// MaxEventAge and MaxEventLead bound how far an event may lie in the past and in the future.
	MaxEventAge  = 14 * 24 * time.Hour
	MaxEventLead = 2 * time.Hour
	// MaxPageEvents and MaxPageBytes bound one page of GetEvents and Filter.
	MaxPageEvents = 10_000
	MaxPageBytes  = 1 << 20
	// MaxPatternBytes bounds a filter pattern.
	MaxPatternBytes = 1024
)

// Sizes of the store, in bytes.
const (
	// blockBytes is the raw size at which a head becomes a block.
	blockBytes = 256 << 10
	// maxAppendBytes bounds one append; with blockBytes it bounds a block.
	maxAppendBytes = 4 << 20
	// maxRecordBytes bounds a record of the write-ahead log: an append, its names and its framing.
	maxRecordBytes = 8 << 20
	// maxBlockBytes bounds the parts of a block that a reader is willing to load.
	maxBlockBytes = 16 << 20
	// maxSegmentBytes is the size after which a new segment begins.
	maxSegmentBytes = 32 << 20
	// walBytes is the size of the write-ahead log that causes a checkpoint.
	walBytes = 32 << 20
	// headBytes bounds all heads together; beyond it a checkpoint empties them.
	headBytes = 16 << 20
	// queueBytes bounds what waits for the next sync; appenders wait beyond it.
	queueBytes = 8 << 20
	// scanBytes is the raw volume after which a Filter call answers with what it has and a token.
	scanBytes = 512 << 20
	// maxIndexEntries bounds the cached block headers (each stream of a block counts).
	maxIndexEntries = 50_000
)

// CursorLife is how long a cursor that does not move is remembered.
const CursorLife = 30 * 24 * time.Hour

const (
	// idleCheckpoint empties heads that nobody has appended to for so long.
	idleCheckpoint = 10 * time.Minute
	dayMillis      = int64(24 * time.Hour / time.Millisecond)
)
