package logs

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
	"sync"

	"github.com/klauspost/compress/zstd"
)

// A block in a segment: prefix, header, bloom filter, compressed payload.
const (
	blockMagic  = 0x31424c46 // "FLB1"
	prefixBytes = 16
	// flagBackslash: the payload holds a backslash, so JSON text in it may spell words with escapes.
	flagBackslash = 1
)

// blockInfo is a block's header: where it is and what it says about its content.
type blockInfo struct {
	span
	off, bloomOff, payloadOff, end int64
	rawLen                         int
	flags                          uint64
	bloomCRC, payloadCRC           uint32
}

// blockWriter turns heads into blocks; one goroutine at a time.
type blockWriter struct {
	zstd  *zstd.Encoder
	bloom bloomBuilder
	out   []byte
	comp  []byte
	words []byte
}

func newBlockWriter() (*blockWriter, error) {
	enc, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1),
		zstd.WithWindowSize(1<<19), zstd.WithLowerEncoderMem(true), zstd.WithEncoderCRC(false))
	if err != nil {
		return nil, fmt.Errorf("cannot set up compression: %w", err)
	}
	return &blockWriter{zstd: enc}, nil
}

// encode returns the head as a block; the slice is valid until the next call.
func (w *blockWriter) encode(h *head) []byte {
	r := reader{b: h.buf}
	for c, ok := nextChunk(&r); ok; c, ok = nextChunk(&r) {
		er := eventReader{r: reader{b: c.data}}
		for _, _, msg, ok := er.next(); ok; _, _, msg, ok = er.next() {
			w.bloom.add(msg)
		}
	}
	w.words = w.bloom.finish(w.words[:0])
	w.comp = w.zstd.EncodeAll(h.buf, w.comp[:0])
	flags := uint64(0)
	if bytes.IndexByte(h.buf, '\\') >= 0 {
		flags |= flagBackslash
	}

	b := append(w.out[:0], make([]byte, prefixBytes)...)
	for _, v := range []uint64{h.firstLSN, h.lastLSN, uint64(h.minTS), uint64(h.maxTS), uint64(len(h.buf)), flags, uint64(len(w.words)), uint64(len(w.comp))} {
		b = binary.AppendUvarint(b, v)
	}
	b = binary.LittleEndian.AppendUint32(b, crc32.Checksum(w.words, castagnoli))
	b = binary.LittleEndian.AppendUint32(b, crc32.Checksum(w.comp, castagnoli))
	b = binary.AppendUvarint(b, uint64(len(h.streams)))
	for i := range h.streams {
		st := &h.streams[i]
		b = appendString(b, st.name)
		for _, v := range []int64{st.first, st.last, st.ingested, st.events, st.bytes} {
			b = binary.AppendUvarint(b, uint64(v))
		}
	}
	header := b[prefixBytes:]
	binary.LittleEndian.PutUint32(b[0:], blockMagic)
	binary.LittleEndian.PutUint32(b[4:], uint32(len(header)))
	binary.LittleEndian.PutUint32(b[8:], crc32.Checksum(header, castagnoli))
	binary.LittleEndian.PutUint32(b[12:], uint32(len(w.words)+len(w.comp)))
	b = append(b, w.words...)
	b = append(b, w.comp...)
	w.out = b
	return b
}

// readBlock reads the header of the block at off in a segment of which size bytes are valid.
// buf is scratch space.
func readBlock(f io.ReaderAt, off, size int64, buf []byte) (blockInfo, []byte, error) {
	if off+prefixBytes > size {
		return blockInfo{}, buf, errCorrupt
	}
	const guess = 4 << 10 // one read gets most headers
	buf = append(buf[:0], make([]byte, min(guess, size-off))...)
	if _, err := f.ReadAt(buf, off); err != nil {
		return blockInfo{}, buf, err
	}
	headerLen := int64(binary.LittleEndian.Uint32(buf[4:]))
	crc := binary.LittleEndian.Uint32(buf[8:])
	bodyLen := int64(binary.LittleEndian.Uint32(buf[12:]))
	end := off + prefixBytes + headerLen + bodyLen
	if binary.LittleEndian.Uint32(buf) != blockMagic || headerLen > maxBlockBytes || bodyLen > maxBlockBytes || end > size {
		return blockInfo{}, buf, errCorrupt
	}
	if need := prefixBytes + headerLen; need > int64(len(buf)) {
		buf = append(buf[:0], make([]byte, need)...)
		if _, err := f.ReadAt(buf, off); err != nil {
			return blockInfo{}, buf, err
		}
	}
	header := buf[prefixBytes : prefixBytes+headerLen]
	if crc32.Checksum(header, castagnoli) != crc {
		return blockInfo{}, buf, errCorrupt
	}
	info, err := parseHeader(header, off+prefixBytes+headerLen, end)
	info.off = off
	return info, buf, err
}

// parseHeader decodes a header whose body lies at [body, end) in the segment.
func parseHeader(header []byte, body, end int64) (blockInfo, error) {
	r := reader{b: header}
	info := blockInfo{bloomOff: body, end: end}
	info.firstLSN, info.lastLSN = r.uvarint(), r.uvarint()
	info.minTS, info.maxTS = int64(r.uvarint()), int64(r.uvarint())
	rawLen, flags, bloomLen, payloadLen := r.uvarint(), r.uvarint(), r.uvarint(), r.uvarint()
	info.flags = flags
	info.bloomCRC, info.payloadCRC = r.uint32(), r.uint32()
	n := r.count()
	info.streams = make([]streamStat, 0, min(n, 1024))
	for range n {
		st := streamStat{name: r.string(), first: int64(r.uvarint()), last: int64(r.uvarint()), ingested: int64(r.uvarint()),
			events: int64(r.uvarint()), bytes: int64(r.uvarint())}
		if r.bad {
			break
		}
		info.streams = append(info.streams, st)
	}
	if r.bad || rawLen > maxBlockBytes || bloomLen > maxBlockBytes || payloadLen > maxBlockBytes ||
		body+int64(bloomLen)+int64(payloadLen) != end {
		return blockInfo{}, errCorrupt
	}
	info.rawLen = int(rawLen)
	info.payloadOff = body + int64(bloomLen)
	return info, nil
}

// decoders hold zstd's tables; a pool because readers are many and seldom.
var decoders = sync.Pool{New: func() any {
	d, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(maxBlockBytes))
	if err != nil {
		panic("logs: zstd rejects constant options: " + err.Error())
	}
	return d
}}

// readPayload returns the decompressed payload of a block, in raw's space when that suffices.
func readPayload(f io.ReaderAt, info *blockInfo, raw []byte) ([]byte, error) {
	comp := make([]byte, info.end-info.payloadOff)
	if _, err := f.ReadAt(comp, info.payloadOff); err != nil {
		return nil, err
	}
	if crc32.Checksum(comp, castagnoli) != info.payloadCRC {
		return nil, errCorrupt
	}
	if cap(raw) < info.rawLen {
		raw = make([]byte, 0, info.rawLen)
	}
	d := decoders.Get().(*zstd.Decoder)
	defer decoders.Put(d)
	raw, err := d.DecodeAll(comp, raw[:0])
	if err != nil || len(raw) != info.rawLen {
		return nil, errCorrupt
	}
	return raw, nil
}

// readBloom returns the block's filter.
func readBloom(f io.ReaderAt, info *blockInfo) ([]byte, error) {
	b := make([]byte, info.payloadOff-info.bloomOff)
	if _, err := f.ReadAt(b, info.bloomOff); err != nil {
		return nil, err
	}
	if crc32.Checksum(b, castagnoli) != info.bloomCRC {
		return nil, errCorrupt
	}
	return b, nil
}
