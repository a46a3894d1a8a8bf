package registry

import (
	"net/http"
	"strconv"
	"strings"
)

// span is a range of bytes, both ends included.
type span struct{ first, last int64 }

func (s span) length() int64 { return s.last - s.first + 1 }

var (
	errRange        = fail(http.StatusRequestedRangeNotSatisfiable, "RANGE_INVALID", "the range is malformed or lies outside of the blob")
	errContentRange = fail(http.StatusBadRequest, "BLOB_UPLOAD_INVALID", "invalid Content-Range: expected first-last, in bytes, of the body's length")
)

// parseRange reads a Range header for content of the given size (RFC 9110 §14.2). Whole is true when the content is to
// be sent from end to end: no header, another unit, or several ranges, which a server may ignore.
func parseRange(header string, size int64) (s span, whole bool, err error) {
	unit, set, ok := strings.Cut(header, "=")
	if !ok || !strings.EqualFold(strings.TrimSpace(unit), "bytes") || strings.Contains(set, ",") {
		return span{0, size - 1}, true, nil
	}
	from, to, ok := strings.Cut(strings.TrimSpace(set), "-")
	if !ok {
		return span{}, false, errRange
	}
	first, hasFirst := parseBytes(from)
	last, hasLast := parseBytes(to)
	switch {
	case from == "" && hasLast && last > 0 && size > 0:
		return span{max(size-last, 0), size - 1}, false, nil
	case hasFirst && to == "" && first < size:
		return span{first, size - 1}, false, nil
	case hasFirst && hasLast && first <= last && first < size:
		return span{first, min(last, size-1)}, false, nil
	}
	return span{}, false, errRange
}

// parseContentRange reads an upload's Content-Range: "first-last" as distribution-spec 1.1 has it ("Pushing a blob in
// chunks"), or RFC 9110's "bytes first-last/size".
func parseContentRange(header string) (span, error) {
	text := strings.TrimSpace(header)
	if rest, ok := strings.CutPrefix(text, "bytes "); ok {
		text, _, _ = strings.Cut(rest, "/")
	}
	from, to, _ := strings.Cut(text, "-")
	first, ok := parseBytes(from)
	last, ok2 := parseBytes(to)
	if !ok || !ok2 || last < first || last-first == 1<<63-1 {
		return span{}, errContentRange
	}
	return span{first, last}, nil
}

func parseBytes(s string) (int64, bool) {
	if s == "" || len(s) > 19 || strings.Trim(s, "0123456789") != "" {
		return 0, false
	}
	n, err := strconv.ParseInt(s, 10, 64)
	return n, err == nil
}
