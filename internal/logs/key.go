package logs

import (
	"crypto/sha256"
	"encoding/hex"
	"strconv"
	"strings"
	"time"

	"github.com/funade/funade/internal/app"
)

// position is an event's place in the order of a group. The zero position is before every event
// because sequence numbers begin with 1.
type position struct {
	ts  int64 // milliseconds
	lsn uint64
	idx uint32
}

// lastPosition is behind every event.
var lastPosition = position{ts: maxTimestamp, lsn: ^uint64(0), idx: ^uint32(0)}

// maxTimestamp is the largest timestamp in milliseconds that the store takes: it has 13 digits.
const maxTimestamp = 9_999_999_999_999

func (p position) less(q position) bool {
	if p.ts != q.ts {
		return p.ts < q.ts
	}
	if p.lsn != q.lsn {
		return p.lsn < q.lsn
	}
	return p.idx < q.idx
}

// after is the place right behind p.
func (p position) after() position {
	if p.idx == ^uint32(0) {
		return position{ts: p.ts, lsn: p.lsn + 1}
	}
	return position{ts: p.ts, lsn: p.lsn, idx: p.idx + 1}
}

// before is the place right in front of p; the zero position has none and stays.
func (p position) before() position {
	switch {
	case p.idx > 0:
		return position{ts: p.ts, lsn: p.lsn, idx: p.idx - 1}
	case p.lsn > 0:
		return position{ts: p.ts, lsn: p.lsn - 1, idx: ^uint32(0)}
	case p.ts > 0:
		return position{ts: p.ts - 1, lsn: ^uint64(0), idx: ^uint32(0)}
	}
	return p
}

// idDigits is the length of an event id, CloudWatch Logs' own.
const (
	tsDigits, lsnDigits, indexDigits = 16, 20, 20

	idDigits = tsDigits + lsnDigits + indexDigits
)

// id spells the position as 56 digits that sort like positions do.
func (p position) id() string {
	b := make([]byte, 0, idDigits)
	b = appendDigits(b, uint64(p.ts), tsDigits)
	b = appendDigits(b, p.lsn, lsnDigits)
	b = appendDigits(b, uint64(p.idx), indexDigits)
	return string(b)
}

func appendDigits(b []byte, n uint64, width int) []byte {
	start := len(b)
	b = b[:start+width]
	for i := start + width - 1; i >= start; i-- {
		b[i] = byte('0' + n%10)
		n /= 10
	}
	return b
}

func parsePosition(s string) (position, bool) {
	if len(s) != idDigits || strings.Trim(s, "0123456789") != "" {
		return position{}, false
	}
	ts, err1 := strconv.ParseInt(s[:tsDigits], 10, 64)
	lsn, err2 := strconv.ParseUint(s[tsDigits:tsDigits+lsnDigits], 10, 64)
	idx, err3 := strconv.ParseUint(s[tsDigits+lsnDigits:], 10, 32)
	if err1 != nil || err2 != nil || err3 != nil || ts > maxTimestamp {
		return position{}, false
	}
	return position{ts: ts, lsn: lsn, idx: uint32(idx)}, true
}

// groupDir returns the folder name of a group: a readable part that nothing depends on, and a hash
// that no two groups share. Hostile names (slashes, dots, 512 characters) therefore cannot leave the store.
func groupDir(key app.LogGroupKey) string {
	h := sha256.New()
	for _, part := range []string{string(key.Scope.Account), string(key.Scope.Region), key.Name} {
		h.Write([]byte(strconv.Itoa(len(part))))
		h.Write([]byte{':'})
		h.Write([]byte(part))
	}
	const readable = 80
	name := key.Name
	if len(name) > readable {
		name = name[len(name)-readable:]
	}
	name = strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', r == '_', r == '-':
			return r
		}
		return '-'
	}, name)
	return name + "-" + hex.EncodeToString(h.Sum(nil)[:16])
}

func dayOf(ts int64) int64 { return ts / dayMillis }

func dayName(day int64) string { return time.UnixMilli(day * dayMillis).UTC().Format(time.DateOnly) }

// parseDay is the inverse of dayName.
func parseDay(name string) (int64, bool) {
	t, err := time.Parse(time.DateOnly, name)
	if err != nil {
		return 0, false
	}
	return dayOf(t.UnixMilli()), true
}

const segmentSuffix = ".seg"

// segmentName names a segment by the first sequence number in it, so that names sort by age.
func segmentName(lsn uint64) string {
	return string(appendDigits(make([]byte, 0, lsnDigits), lsn, lsnDigits)) + segmentSuffix
}

func parseSegment(name string) (uint64, bool) {
	digits, ok := strings.CutSuffix(name, segmentSuffix)
	if !ok || len(digits) != lsnDigits {
		return 0, false
	}
	lsn, err := strconv.ParseUint(digits, 10, 64)
	return lsn, err == nil
}
