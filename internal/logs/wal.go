package logs

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/funade/funade/internal/app"
)

// The kinds of record in the write-ahead log; their numbers are on disk.
const (
	recordAppend byte = iota + 1
	recordDeleteGroup
	recordDeleteStream
	recordForgetCursor

	// opCheckpoint is no record: it asks the committer for a checkpoint.
	opCheckpoint byte = 0
)

// op is one change on its way through the committer, and a record of the write-ahead log.
type op struct {
	kind     byte
	lsn      uint64
	key      app.LogStreamKey
	ingested int64
	// cursor is stored together with the events; nil = none.
	cursor *Cursor
	parts  []part

	dir  string // groupDir(key.Group)
	size int    // bytes that it takes in the queue
	done chan error
}

// encode appends the record's payload.
func (o *op) encode(b []byte) []byte {
	b = append(b, o.kind)
	b = binary.AppendUvarint(b, o.lsn)
	b = appendString(b, string(o.key.Group.Scope.Account))
	b = appendString(b, string(o.key.Group.Scope.Region))
	b = appendString(b, o.key.Group.Name)
	b = appendString(b, o.key.Stream)
	b = binary.AppendUvarint(b, uint64(o.ingested))
	if o.cursor == nil {
		b = append(b, 0)
	} else {
		b = appendString(append(b, 1), o.cursor.Name)
		b = binary.AppendVarint(b, o.cursor.Value)
	}
	b = binary.AppendUvarint(b, uint64(len(o.parts)))
	for i := range o.parts {
		p := &o.parts[i]
		for _, v := range []int64{p.day, int64(p.events), p.minTS, p.maxTS, p.messageBytes} {
			b = binary.AppendUvarint(b, uint64(v))
		}
		b = binary.AppendUvarint(b, uint64(len(p.data)))
		b = append(b, p.data...)
	}
	return b
}

// decodeOp is the inverse of encode. The op's parts alias payload.
func decodeOp(payload []byte) (*op, error) {
	if len(payload) == 0 {
		return nil, errCorrupt
	}
	o := &op{kind: payload[0]}
	r := reader{b: payload[1:]}
	o.lsn = r.uvarint()
	o.key.Group.Scope = app.Scope{Account: app.AccountID(r.string()), Region: app.Region(r.string())}
	o.key.Group.Name, o.key.Stream = r.string(), r.string()
	o.ingested = int64(r.uvarint())
	if r.uvarint() != 0 {
		o.cursor = &Cursor{Name: r.string(), Value: r.varint()}
	}
	for range r.count() {
		p := part{day: int64(r.uvarint()), events: int(r.uvarint()), minTS: int64(r.uvarint()), maxTS: int64(r.uvarint()),
			messageBytes: int64(r.uvarint())}
		p.data = r.bytes()
		if r.bad {
			break
		}
		o.parts = append(o.parts, p)
	}
	if r.bad || o.kind < recordAppend || o.kind > recordForgetCursor || o.kind == recordForgetCursor && o.cursor == nil {
		return nil, errCorrupt
	}
	o.dir = groupDir(o.key.Group)
	return o, nil
}

const (
	walSuffix   = ".wal"
	frameBytes  = 8 // length and checksum, before each payload
	walFileMode = 0o600
	dirMode     = 0o700
)

// wal is the write-ahead log's current file. Only the committer uses it.
type wal struct {
	f    *os.File
	seq  uint64
	size int64 // synced bytes
}

func walPath(dir string, seq uint64) string {
	return filepath.Join(dir, fmt.Sprintf("%016x%s", seq, walSuffix))
}

func createWAL(dir string, seq uint64) (*wal, error) {
	f, err := os.OpenFile(walPath(dir, seq), os.O_CREATE|os.O_EXCL|os.O_WRONLY, walFileMode)
	if err != nil {
		return nil, fmt.Errorf("cannot create write-ahead log: %w", err)
	}
	if err := syncDir(dir); err != nil {
		f.Close()
		return nil, err
	}
	return &wal{f: f, seq: seq}, nil
}

// append writes framed records and syncs them. After an error none of them counts: the file is
// cut back, and a file that cannot be cut is unusable (broken).
func (w *wal) append(b []byte) (broken bool, err error) {
	_, err = w.f.WriteAt(b, w.size)
	if err == nil {
		err = datasync(w.f)
	}
	if err == nil {
		w.size += int64(len(b))
		return false, nil
	}
	cut := w.f.Truncate(w.size)
	if cut == nil {
		cut = datasync(w.f)
	}
	return cut != nil, fmt.Errorf("cannot write the write-ahead log: %w", err)
}

// frame appends a record as it lies in the file.
func frame(b []byte, o *op) []byte {
	start := len(b)
	b = append(b, make([]byte, frameBytes)...)
	b = o.encode(b)
	payload := b[start+frameBytes:]
	binary.LittleEndian.PutUint32(b[start:], uint32(len(payload)))
	binary.LittleEndian.PutUint32(b[start+4:], crc32.Checksum(payload, castagnoli))
	return b
}

// readWAL calls f for each whole record; torn reports that the file ends with something else.
func readWAL(in io.Reader, f func(*op) error) (torn bool, err error) {
	br := bufio.NewReaderSize(in, 256<<10)
	var head [frameBytes]byte
	for {
		if _, err := io.ReadFull(br, head[:]); err != nil {
			if err == io.EOF {
				return false, nil
			}
			return true, ignoreShort(err)
		}
		n := binary.LittleEndian.Uint32(head[:])
		if n == 0 || n > maxRecordBytes {
			return true, nil
		}
		payload := make([]byte, n)
		if _, err := io.ReadFull(br, payload); err != nil {
			return true, ignoreShort(err)
		}
		if crc32.Checksum(payload, castagnoli) != binary.LittleEndian.Uint32(head[4:]) {
			return true, nil
		}
		o, err := decodeOp(payload)
		if err != nil {
			return true, nil
		}
		if err := f(o); err != nil {
			return false, err
		}
	}
}

func ignoreShort(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return nil
	}
	return fmt.Errorf("cannot read the write-ahead log: %w", err)
}

// listWALs returns the sequence numbers of the files present, ascending.
func listWALs(dir string) ([]uint64, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("cannot list write-ahead logs: %w", err)
	}
	var seqs []uint64
	for _, e := range entries {
		if hex, ok := strings.CutSuffix(e.Name(), walSuffix); ok {
			if seq, err := strconv.ParseUint(hex, 16, 64); err == nil {
				seqs = append(seqs, seq)
			}
		}
	}
	slices.Sort(seqs)
	return seqs, nil
}

// syncDir makes a folder (or a file) durable.
func syncDir(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("cannot sync: %w", err)
	}
	defer d.Close()
	if err := d.Sync(); err != nil {
		return fmt.Errorf("cannot sync: %w", err)
	}
	return nil
}

// datasync makes a file's content durable.
func datasync(f *os.File) error {
	for {
		err := syscall.Fdatasync(int(f.Fd()))
		if err != syscall.EINTR {
			return err
		}
	}
}
