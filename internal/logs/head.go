package logs

import (
	"encoding/binary"
	"time"

	"github.com/funade/funade/internal/app"
)

// part is the events of one append that fall on one day, encoded as they stay until they are read:
// index, time since the event before, length, message.
type part struct {
	day          int64
	events       int
	minTS, maxTS int64
	messageBytes int64
	lastTS       int64
	data         []byte
}

// encodeParts splits an append by day. Timestamps are valid already.
func encodeParts(events []app.LogEvent) []part {
	size := 0
	for i := range events {
		size += len(events[i].Message) + 12
	}
	var parts []part
	current := -1
	for i := range events {
		ts := events[i].Timestamp.UnixMilli()
		day := dayOf(ts)
		if current < 0 || parts[current].day != day {
			current = -1
			for j := range parts {
				if parts[j].day == day {
					current = j
				}
			}
		}
		if current < 0 {
			p := part{day: day, minTS: ts, maxTS: ts}
			if len(parts) == 0 {
				p.data = make([]byte, 0, size)
			}
			parts = append(parts, p)
			current = len(parts) - 1
		}
		parts[current].add(uint32(i), ts, events[i].Message)
	}
	return parts
}

func (p *part) add(index uint32, ts int64, message string) {
	p.data = binary.AppendUvarint(p.data, uint64(index))
	p.data = binary.AppendVarint(p.data, ts-p.lastTS)
	p.data = appendString(p.data, message)
	p.lastTS = ts
	p.minTS, p.maxTS = min(p.minTS, ts), max(p.maxTS, ts)
	p.events++
	p.messageBytes += int64(len(message))
}

// eventReader walks the events of a part.
type eventReader struct {
	r  reader
	ts int64
}

// next returns the next event; ok is false at the end or at damage.
func (e *eventReader) next() (index uint32, ts int64, message []byte, ok bool) {
	if len(e.r.b) == 0 {
		return 0, 0, nil, false
	}
	index = uint32(e.r.uvarint())
	e.ts += e.r.varint()
	message = e.r.bytes()
	return index, e.ts, message, !e.r.bad
}

// chunk is one append's part inside a head or a block.
type chunk struct {
	stream   int
	lsn      uint64
	ingested int64
	data     []byte
}

func nextChunk(r *reader) (chunk, bool) {
	if len(r.b) == 0 {
		return chunk{}, false
	}
	c := chunk{stream: int(r.uvarint()), lsn: r.uvarint(), ingested: int64(r.uvarint())}
	c.data = r.bytes()
	return c, !r.bad
}

// streamStat sums up one stream in a head or a block.
type streamStat struct {
	name        string
	first, last int64 // timestamps
	ingested    int64 // of the last append
	events      int64
	bytes       int64 // messages only
}

// span is what heads and blocks say about their content.
type span struct {
	firstLSN, lastLSN uint64
	minTS, maxTS      int64
	streams           []streamStat
}

// head gathers the events of one group and day until they make a block. buf only grows, so a
// reader may keep a slice of it.
type head struct {
	span
	day   int64
	index map[string]int
	buf   []byte
	since time.Time
}

func newHead(day int64, now time.Time) *head {
	return &head{day: day, index: map[string]int{}, since: now}
}

func (h *head) add(stream string, lsn uint64, ingested int64, p *part) {
	i, ok := h.index[stream]
	if !ok {
		i = len(h.streams)
		h.index[stream] = i
		h.streams = append(h.streams, streamStat{name: stream, first: p.minTS, last: p.maxTS})
	}
	st := &h.streams[i]
	st.first, st.last = min(st.first, p.minTS), max(st.last, p.maxTS)
	st.ingested = max(st.ingested, ingested)
	st.events += int64(p.events)
	st.bytes += p.messageBytes
	if h.firstLSN == 0 {
		h.firstLSN, h.minTS, h.maxTS = lsn, p.minTS, p.maxTS
	}
	h.lastLSN = lsn
	h.minTS, h.maxTS = min(h.minTS, p.minTS), max(h.maxTS, p.maxTS)
	h.buf = binary.AppendUvarint(h.buf, uint64(i))
	h.buf = binary.AppendUvarint(h.buf, lsn)
	h.buf = binary.AppendUvarint(h.buf, uint64(ingested))
	h.buf = binary.AppendUvarint(h.buf, uint64(len(p.data)))
	h.buf = append(h.buf, p.data...)
}
