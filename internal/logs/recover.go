package logs

import (
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// recover brings the store to the state of the last acknowledged change: meta.json, then every record
// beyond it, except events that a valid block holds already.
func (s *Store) recover() error {
	c := &s.commit
	c.dirty = map[string]struct{}{}
	c.last = s.now()
	if err := s.readMeta(); err != nil {
		return err
	}
	seqs, err := listWALs(s.walDir)
	if err != nil {
		return err
	}
	base := c.lsn
	days := map[dayKey]uint64{} // last sequence number in the segments of a day
	for i, seq := range seqs {
		torn, err := s.replay(walPath(s.walDir, seq), base, days)
		if err != nil {
			return err
		}
		if torn && i < len(seqs)-1 {
			s.log.Warn("an old write-ahead log of the log store ends in the middle of a record", "file", walPath(s.walDir, seq))
		}
	}
	next := uint64(1)
	if len(seqs) > 0 {
		next = seqs[len(seqs)-1] + 1
	}
	if c.wal, err = createWAL(s.walDir, next); err != nil {
		return err
	}
	if err := s.checkpoint(); err != nil {
		// The old logs stay until a checkpoint succeeds; reading and appending go on.
		s.log.Warn("cannot checkpoint the log store after recovery; will try again", "error", err)
		c.retry = s.now().Add(checkpointRetry)
	}
	return nil
}

func (s *Store) readMeta() error {
	data, err := os.ReadFile(s.metaPath())
	if errors.Is(err, fs.ErrNotExist) {
		s.bytes.Store(s.countBytes())
		return nil
	}
	if err != nil {
		return fmt.Errorf("cannot read log store state: %w", err)
	}
	var m meta
	if err := json.Unmarshal(data, &m); err != nil {
		return fmt.Errorf("cannot read log store state in %s: %w", s.metaPath(), err)
	}
	s.commit.lsn = m.LSN
	s.bytes.Store(m.Bytes) // a crash makes it inexact until Maintain counts
	for _, c := range m.Cursors {
		state := cursorState{value: c.Value, last: c.Last, moved: c.Moved}
		state.group.Scope.Account, state.group.Scope.Region, state.group.Name = c.Account, c.Region, c.Group
		s.cursors[cursorKey{groupDir(state.group), c.Name}] = state
	}
	for _, d := range m.Deleted {
		sh := s.shard(d.Dir)
		if sh.deleted[d.Dir] == nil {
			sh.deleted[d.Dir] = map[string]uint64{}
		}
		sh.deleted[d.Dir][d.Stream] = d.LSN
	}
	return nil
}

type dayKey struct {
	dir string
	day int64
}

// replay applies the records of one write-ahead log beyond base.
func (s *Store) replay(path string, base uint64, days map[dayKey]uint64) (torn bool, err error) {
	f, err := os.Open(path)
	if err != nil {
		return false, fmt.Errorf("cannot open the write-ahead log: %w", err)
	}
	defer f.Close()
	now := s.now()
	return readWAL(f, func(o *op) error {
		if o.lsn <= base {
			return nil
		}
		s.commit.lsn = max(s.commit.lsn, o.lsn)
		return s.replayOp(o, now, base, days)
	})
}

func (s *Store) replayOp(o *op, now time.Time, base uint64, days map[dayKey]uint64) error {
	if o.kind != recordAppend {
		s.apply(o, now)
		return nil
	}
	// Settle what the segments hold before the first record of a day can cause a block to be added.
	for i := range o.parts {
		key := dayKey{o.dir, o.parts[i].day}
		if _, ok := days[key]; ok {
			continue
		}
		last, err := s.settleDay(key, base)
		if err != nil {
			return err
		}
		days[key] = last
	}
	s.applyAppend(o, now, func(day int64) bool { return o.lsn <= days[dayKey{o.dir, day}] })
	if s.held.Load() > headBytes {
		if err := s.flushAll(); err != nil {
			s.log.Warn("cannot write blocks of log events during recovery; they stay in memory", "error", err)
		}
	}
	return nil
}

// settleDay checks the blocks of a day that were perhaps not synced, cuts each segment at the first
// damaged one, and returns the last sequence number that is left.
func (s *Store) settleDay(key dayKey, base uint64) (uint64, error) {
	last := uint64(0)
	for _, f := range listDay(filepath.Join(s.groups, key.dir, dayName(key.day))) {
		valid, lsn, err := checkSegment(f.path, f.size, base)
		if err != nil {
			return 0, err
		}
		last = max(last, lsn)
		if valid == f.size {
			continue
		}
		s.bytes.Add(valid - f.size)
		if valid == 0 {
			err = os.Remove(f.path)
		} else {
			err = os.Truncate(f.path, valid)
		}
		if err != nil {
			return 0, fmt.Errorf("cannot cut torn segment: %w", err)
		}
	}
	return last, nil
}

// checkSegment returns how much of a segment is whole and its last sequence number. Blocks up to base
// were synced by a checkpoint; of these only the header is looked at.
func checkSegment(path string, size int64, base uint64) (valid int64, lsn uint64, err error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, 0, fmt.Errorf("cannot check segment: %w", err)
	}
	defer f.Close()
	var buf []byte
	for valid < size {
		var info blockInfo
		info, buf, err = readBlock(f, valid, size, buf)
		if err != nil {
			return valid, lsn, ignoreDamage(err)
		}
		if info.lastLSN > base {
			if err := checkBody(f, &info); err != nil {
				return valid, lsn, ignoreDamage(err)
			}
		}
		valid, lsn = info.end, max(lsn, info.lastLSN)
	}
	return valid, lsn, nil
}

func checkBody(f *os.File, info *blockInfo) error {
	if _, err := readBloom(f, info); err != nil {
		return err
	}
	h := crc32.New(castagnoli)
	if _, err := io.Copy(h, io.NewSectionReader(f, info.payloadOff, info.end-info.payloadOff)); err != nil {
		return err
	}
	if h.Sum32() != info.payloadCRC {
		return errCorrupt
	}
	return nil
}

func ignoreDamage(err error) error {
	if errors.Is(err, errCorrupt) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return nil
	}
	return fmt.Errorf("cannot check segment: %w", err)
}
