package strict

import (
	"bytes"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"testing/iotest"
)

// scripted is a connection that reads from a script.
type scripted struct {
	net.Conn
	r io.Reader
}

func (s scripted) Read(p []byte) (int, error) { return s.r.Read(p) }

// through returns what a Conn hands out of input and the error that ends it.
func through(input []byte, bytewise bool) ([]byte, error) {
	var r io.Reader = bytes.NewReader(input)
	if bytewise {
		r = iotest.OneByteReader(r)
	}
	return io.ReadAll(NewConn(scripted{r: r}))
}

// The messages of the request-smuggling probe that must pass as they are.
var good = map[string]string{
	"get":                     "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
	"get 1.0":                 "GET / HTTP/1.0\r\n\r\n",
	"pipelined":               "GET /1 HTTP/1.1\r\nHost: a\r\n\r\nGET /2 HTTP/1.1\r\nHost: a\r\n\r\n",
	"body":                    "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhelloGET / HTTP/1.1\r\nHost: a\r\n\r\n",
	"body with bare line end": "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\n\n\n\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
	"chunked":                 "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nA;x=\"y\"\r\n0123456789\r\n0\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
	"trailers":                "POST / HTTP/1.1\r\nHost: a\r\nTrailer: X-Sum\r\nTransfer-Encoding: Chunked\r\n\r\n1\r\nx\r\n0\r\nX-Sum: 1\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
	"absolute target":         "GET http://a/x HTTP/1.1\r\nHost: A\r\n\r\n",
	"asterisk":                "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n",
	"utf-8 value":             "GET / HTTP/1.1\r\nHost: a\r\nX: \xc3\xa9\r\n\r\n",
	"empty value":             "GET / HTTP/1.1\r\nHost: a\r\nX:\r\n\r\n",
	"length zero":             "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
	"underscores":             "GET / HTTP/1.1\r\nHost: a\r\nTransfer_Encoding: chunked\r\n\r\n",
}

// The messages of the probe that must not pass: a second request hides behind some of them.
var bad = map[string]string{
	"length and encoding":    "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
	"encoding and length":    "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
	"two equal lengths":      "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\nx",
	"two lengths":            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxy",
	"length list":            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5, 5\r\n\r\nhello",
	"length +5":              "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +5\r\n\r\nhello",
	"length 0x5":             "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0x5\r\n\r\nhello",
	"length empty":           "POST / HTTP/1.1\r\nHost: a\r\nContent-Length:\r\n\r\n",
	"length overflow":        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 18446744073709551621\r\n\r\nhello",
	"encoding on 1.0":        "POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
	"two encodings":          "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
	"encoding list":          "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
	"xchunked":               "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
	"tab and VT":             "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n",
	"space before the colon": "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
	"folded field":           "GET / HTTP/1.1\r\nHost: a\r\nX: 1\r\n 2\r\n\r\n",
	"first line folded":      "GET / HTTP/1.1\r\n Host: a\r\n\r\n",
	"bare line feed":         "GET / HTTP/1.1\r\nHost: a\nX: 1\r\n\r\n",
	"bare line feed at end":  "GET / HTTP/1.1\r\nHost: a\r\n\n",
	"bare carriage return":   "GET / HTTP/1.1\r\nHost: a\r\nX: 1\r2\r\n\r\n",
	"NUL":                    "GET / HTTP/1.1\r\nHost: a\r\nX: \x00\r\n\r\n",
	"HTTP/1.9":               "GET / HTTP/1.9\r\nHost: a\r\n\r\n",
	"HTTP/2.0":               "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
	"HTTP/0.9":               "GET /\r\n",
	"two spaces":             "GET  / HTTP/1.1\r\nHost: a\r\n\r\n",
	"tab in request line":    "GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n",
	"empty first line":       "\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
	"CONNECT":                "CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n",
	"other host in target":   "GET http://b/ HTTP/1.1\r\nHost: a\r\n\r\n",
	"user in target":         "GET http://a@b/ HTTP/1.1\r\nHost: b\r\n\r\n",
	"ftp target":             "GET ftp://a/ HTTP/1.1\r\nHost: a\r\n\r\n",
	"two hosts":              "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
	"no host":                "GET / HTTP/1.1\r\n\r\n",
	"no colon":               "GET / HTTP/1.1\r\nHost: a\r\nX\r\n\r\n",
	"no name":                "GET / HTTP/1.1\r\nHost: a\r\n: x\r\n\r\n",
	"chunk size 0x0":         "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0x0\r\n\r\n",
	"chunk size +0":          "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n+0\r\n\r\n",
	"chunk size empty":       "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n\r\n\r\n",
	"chunk size with space":  "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0 \r\n\r\n",
	"chunk size overflow":    "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n10000000000000002\r\nxx\r\n0\r\n\r\n",
	"chunk size DLE":         "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n\x10\r\n\r\n",
	"extension with LF":      "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1;a\nb\r\nx\r\n0\r\n\r\n",
	"chunk longer than size": "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nxy\r\n0\r\n\r\n",
	"chunk end bare LF":      "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\n0\r\n\r\n",
	"length in trailers":     "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nContent-Length: 5\r\n\r\n",
	"second request":         "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nxGET / HTTP/1.9\r\nHost: a\r\n\r\n",
}

func TestGoodMessagesPassUnchanged(t *testing.T) {
	for name, input := range good {
		for _, bytewise := range []bool{false, true} {
			out, err := through([]byte(input), bytewise)
			if err != nil || string(out) != input {
				t.Errorf("%s (byte by byte %v): got %q, %v", name, bytewise, out, err)
			}
		}
	}
}

func TestBadMessagesNeverEnd(t *testing.T) {
	for name, input := range bad {
		for _, bytewise := range []bool{false, true} {
			out, err := through([]byte(input), bytewise)
			if !errors.Is(err, ErrMalformed) {
				t.Errorf("%s (byte by byte %v): passed as %q, %v", name, bytewise, out, err)
			}
			if len(out) >= len(input) || !strings.HasPrefix(input, string(out)) {
				t.Errorf("%s: handed out %q", name, out)
			}
		}
	}
}

func TestHeadLimit(t *testing.T) {
	long := "GET / HTTP/1.1\r\nHost: a\r\nX: " + strings.Repeat("x", 2*MaxHead)
	many := "GET / HTTP/1.1\r\nHost: a\r\n" + strings.Repeat("X: 0123456789\r\n", MaxHead/8)
	for _, input := range []string{long, many} {
		out, err := through([]byte(input), false)
		if !errors.Is(err, ErrMalformed) || len(out) <= MaxHead || len(out) > maxReleased+step {
			t.Errorf("handed out %d bytes, %v", len(out), err)
		}
	}
}

func TestOpenPassesEverything(t *testing.T) {
	ours, theirs := net.Pipe()
	defer ours.Close()
	c := NewConn(ours)
	go func() {
		_, _ = io.WriteString(theirs, "GET / HTTP/1.1\r\nHost: a\r\n\r\n\x00early")
		_, _ = io.WriteString(theirs, "\x01later\n")
		_ = theirs.Close()
	}()
	buf := make([]byte, 27)
	if _, err := io.ReadFull(c, buf); err != nil {
		t.Fatal(err)
	}
	c.Open()
	rest, err := io.ReadAll(c)
	if err != nil || string(rest) != "\x00early\x01later\n" {
		t.Errorf("got %q, %v", rest, err)
	}
}

// FuzzConn checks that what is handed out is a prefix of the input and does not depend on how the
// input was cut into packets.
func FuzzConn(f *testing.F) {
	for _, m := range good {
		f.Add([]byte(m))
	}
	for _, m := range bad {
		f.Add([]byte(m))
	}
	f.Fuzz(func(t *testing.T, input []byte) {
		whole, err1 := through(input, false)
		cut, err2 := through(input, true)
		if !bytes.HasPrefix(input, whole) || !bytes.HasPrefix(input, cut) {
			t.Fatalf("not a prefix: %q, %q of %q", whole, cut, input)
		}
		if (err1 == nil) != (err2 == nil) {
			t.Fatalf("verdict depends on packets: %v, %v", err1, err2)
		}
		if err1 == nil && !(bytes.HasPrefix(whole, cut) || bytes.HasPrefix(cut, whole)) {
			t.Fatalf("output depends on packets: %q, %q", whole, cut)
		}
	})
}
