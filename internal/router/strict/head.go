package strict

import (
	"bytes"
	"strings"
)

// head gathers what decides how a request is framed and where it goes.
type head struct {
	minor     byte // of HTTP/1.x
	authority string
	absolute  bool
	hosts     int
	host      string
	lengths   int
	length    int64
	encodings int
	chunked   bool
}

// request judges a request line: method SP target SP version, nothing else.
func (h *head) request(line []byte) error {
	parts := bytes.Split(line, []byte{' '})
	if len(parts) != 3 || !isToken(parts[0]) || len(parts[1]) == 0 || bytes.IndexByte(line, '\t') >= 0 {
		return malformed("the request line is not method, target and version")
	}
	switch string(parts[2]) {
	case "HTTP/1.1":
		h.minor = 1
	case "HTTP/1.0":
		h.minor = 0
	default:
		return malformed("the version is neither HTTP/1.0 nor HTTP/1.1")
	}
	if string(parts[0]) == "CONNECT" {
		return malformed("CONNECT is not served")
	}
	target := string(parts[1])
	if target[0] == '/' || target == "*" {
		return nil
	}
	scheme, rest, ok := strings.Cut(target, "://")
	if !ok || !strings.EqualFold(scheme, "http") && !strings.EqualFold(scheme, "https") {
		return malformed("the target is neither a path nor an http URL")
	}
	h.absolute = true
	if end := strings.IndexAny(rest, "/?"); end >= 0 {
		rest = rest[:end]
	}
	h.authority = rest
	return nil
}

// field judges one header field and remembers those that frame the message.
func (h *head) field(line []byte) error {
	name, value, err := splitField(line)
	if err != nil {
		return err
	}
	switch {
	case isAny(name, "content-length"):
		h.lengths++
		h.length, err = decimal(value)
	case isAny(name, "transfer-encoding"):
		h.encodings++
		if h.chunked = strings.EqualFold(string(value), "chunked"); !h.chunked {
			err = malformed("the transfer encoding is not chunked")
		}
	case isAny(name, "host"):
		h.hosts++
		h.host = string(value)
	}
	return err
}

// verdict judges the head as a whole.
func (h *head) verdict() error {
	switch {
	case h.lengths > 1:
		return malformed("more than one Content-Length")
	case h.encodings > 1:
		return malformed("more than one Transfer-Encoding")
	case h.lengths > 0 && h.encodings > 0:
		return malformed("both Content-Length and Transfer-Encoding")
	case h.encodings > 0 && h.minor == 0:
		return malformed("Transfer-Encoding in HTTP/1.0")
	case h.hosts > 1:
		return malformed("more than one Host")
	case h.hosts == 0 && h.minor == 1:
		return malformed("no Host")
	case h.absolute && h.hosts > 0 && !strings.EqualFold(h.authority, h.host):
		return malformed("the target's host is not the Host field's")
	}
	return nil
}

// splitField splits name ":" OWS value OWS; a line that begins with white space (a folded
// field) and a name that is no token are malformed.
func splitField(line []byte) (name, value []byte, err error) {
	name, value, ok := bytes.Cut(line, []byte{':'})
	if !ok || !isToken(name) {
		return nil, nil, malformed("a header line is not name: value")
	}
	return name, bytes.Trim(value, " \t"), nil
}

// decimal reads a Content-Length: digits only, below 10^18.
func decimal(value []byte) (int64, error) {
	if len(value) == 0 || len(value) > 18 {
		return 0, malformed("the Content-Length is not a number of 1 to 18 digits")
	}
	var n int64
	for _, b := range value {
		if b < '0' || b > '9' {
			return 0, malformed("the Content-Length holds more than digits")
		}
		n = n*10 + int64(b-'0')
	}
	return n, nil
}

// chunkSize reads 1 to 15 hex digits, then nothing or an extension.
func chunkSize(line []byte) (int64, error) {
	digits, _, extended := bytes.Cut(line, []byte{';'})
	if extended {
		digits = bytes.TrimRight(digits, " \t")
	}
	if len(digits) == 0 || len(digits) > 15 || len(line) > maxChunkLine {
		return 0, malformed("a chunk size is not a number of 1 to 15 hex digits")
	}
	var n int64
	for _, b := range digits {
		d := strings.IndexByte("0123456789abcdef", b|0x20)
		if d < 0 || b < '0' {
			return 0, malformed("a chunk size holds more than hex digits")
		}
		n = n<<4 | int64(d)
	}
	return n, nil
}

// isAny reports whether name equals one of the lowercase names, ignoring case.
func isAny(name []byte, names ...string) bool {
	for _, n := range names {
		if len(n) == len(name) && strings.EqualFold(n, string(name)) {
			return true
		}
	}
	return false
}

// isToken follows RFC 9110 §5.6.2.
func isToken(s []byte) bool {
	for _, b := range s {
		if !tokenChars[b] {
			return false
		}
	}
	return len(s) > 0
}

var tokenChars = func() (t [256]bool) {
	for _, b := range []byte("!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz") {
		t[b] = true
	}
	return t
}()
