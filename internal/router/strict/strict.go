// Package strict puts a watchman in front of net/http's HTTP/1 parser. net/http accepts
// several forms of a message that another parser may read differently (both framings at
// once, doubled lengths, folded fields, bare line feeds, odd versions …) and hides them
// from its handlers; a proxy that lets them pass can be used to smuggle requests. A Conn
// follows the framing of the byte stream and lets a message's head end only when it reads
// in exactly one way. What net/http then sees is a prefix of what the client sent.
package strict

import (
	"bytes"
	"errors"
	"fmt"
	"net"
)

// Limits of one message, in bytes.
const (
	// MaxHead bounds request line and fields together.
	MaxHead = 64 << 10
	// maxReleased is a little more than MaxHead, so that net/http meets its own limit first and answers 431.
	maxReleased = MaxHead + 8<<10
	// maxChunkLine bounds a chunk-size line with its extensions.
	maxChunkLine = 4 << 10
)

// ErrMalformed is in the chain of every error that a Conn makes itself. net/http answers
// 400 to it when it ends a head; a handler meets it while it reads a body.
var ErrMalformed = errors.New("malformed HTTP message")

func malformed(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrMalformed, fmt.Sprintf(format, args...))
}

type state int

const (
	requestLine state = iota
	headerLine
	fixedBody   // left bytes of body follow
	chunkLine   // a chunk-size line follows
	chunkData   // left bytes of chunk data follow
	chunkEnd    // the CRLF after chunk data follows
	trailerLine // trailer fields, ended by an empty line
	open        // no longer HTTP: an upgraded connection
)

// Conn is a server's side of an HTTP/1 connection whose Read checks what it hands out.
type Conn struct {
	net.Conn
	mem   []byte // what buf lies in, kept between messages
	buf   []byte // read from the peer, not yet handed out
	ready int    // leading bytes of buf that may be handed out
	state state
	left  int64 // in fixedBody and chunkData
	size  int   // bytes of the head or the trailer section so far
	head  head
	err   error
}

// NewConn watches a fresh server-side connection.
func NewConn(c net.Conn) *Conn { return &Conn{Conn: c} }

// Open ends the watch: everything from here on passes as it is. It is called after the
// connection was hijacked for an upgrade, while nobody reads.
func (c *Conn) Open() { c.state, c.ready, c.err = open, len(c.buf), nil }

// CloseWrite half-closes where the connection can, so that net/http's last words are not lost to
// a reset.
func (c *Conn) CloseWrite() error {
	if w, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return w.CloseWrite()
	}
	return c.Close()
}

// Read hands out checked bytes. After a violation it returns an error with ErrMalformed
// for ever, having withheld the end of the head.
func (c *Conn) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	for {
		if c.ready > 0 {
			n := copy(p, c.buf[:c.ready])
			c.consume(n)
			return n, nil
		}
		if c.err != nil {
			return 0, c.err
		}
		if len(c.buf) == 0 && (c.state == open || c.state == fixedBody || c.state == chunkData) {
			return c.readThrough(p)
		}
		if c.check(); c.ready > 0 || c.err != nil {
			continue
		}
		if err := c.fill(); err != nil {
			return 0, err
		}
	}
}

// readThrough reads body bytes straight into p.
func (c *Conn) readThrough(p []byte) (int, error) {
	if c.state != open {
		p = p[:min(int64(len(p)), c.left)]
	}
	n, err := c.Conn.Read(p)
	if c.state != open {
		c.passed(int64(n))
	}
	return n, err
}

func (c *Conn) consume(n int) {
	c.ready -= n
	c.buf = c.buf[n:]
	if len(c.buf) > 0 {
		return
	}
	if c.buf = nil; cap(c.mem) > step {
		c.mem = nil
	}
}

// step is how much is read at once.
const step = 4 << 10

// fill appends what the peer sent to buf. A read error leaves buf as it is, so that a
// deadline may interrupt a Read that later goes on.
func (c *Conn) fill() error {
	if c.buf == nil {
		if c.mem == nil {
			c.mem = make([]byte, 0, step)
		}
		c.buf = c.mem[:0]
	}
	if len(c.buf) == cap(c.buf) {
		c.mem = append(make([]byte, 0, len(c.buf)+step), c.buf...)
		c.buf = c.mem
	}
	n, err := c.Conn.Read(c.buf[len(c.buf):cap(c.buf)])
	if n > 0 {
		c.buf = c.buf[:len(c.buf)+n]
		return nil
	}
	return err
}

// check walks over buf and moves ready as far as the bytes are good, at most to the end of a
// message: what follows is judged when it is wanted.
func (c *Conn) check() {
	for c.err == nil && c.ready < len(c.buf) && (c.state != requestLine || c.ready == 0) {
		rest := c.buf[c.ready:]
		switch c.state {
		case open:
			c.ready = len(c.buf)
		case fixedBody, chunkData:
			n := min(int64(len(rest)), c.left)
			c.ready += int(n)
			c.passed(n)
		default:
			end := bytes.IndexByte(rest, '\n')
			if end < 0 {
				c.partial(rest)
				return
			}
			c.line(rest[:end+1])
		}
	}
}

// passed accounts for n body bytes handed out or made ready.
func (c *Conn) passed(n int64) {
	if c.left -= n; c.left > 0 {
		return
	}
	if c.state == chunkData {
		c.state = chunkEnd
	} else {
		c.nextMessage()
	}
}

func (c *Conn) nextMessage() { c.state, c.size, c.head = requestLine, 0, head{} }

// partial bounds a line that has not ended yet.
func (c *Conn) partial(rest []byte) {
	switch c.state {
	case chunkEnd:
		if len(rest) > 1 || rest[0] != '\r' {
			c.err = malformed("chunk data is longer than its size says")
		}
	case chunkLine:
		if len(rest) > maxChunkLine {
			c.err = malformed("a chunk-size line is longer than %d bytes", maxChunkLine)
		}
	default:
		if c.size+len(rest) > maxReleased {
			c.ready = len(c.buf) // net/http finds the head too large before it ends
			c.err = malformed("the head is longer than %d bytes", MaxHead)
		}
	}
}

// line judges one line with its line feed and makes it ready when it is good. Of a bad line the
// end is withheld, so that the head cannot end; the rest comes before the error, because net/http
// reads a byte ahead while a handler runs and would take an error there for the client's leaving.
func (c *Conn) line(raw []byte) {
	first := c.state == requestLine
	c.size += len(raw)
	c.err = c.judge(raw)
	switch {
	case c.err == nil:
		c.ready += len(raw)
		if c.size > maxReleased {
			c.err = malformed("the head is longer than %d bytes", MaxHead)
		}
	case first:
		c.ready += max(len(raw)-1, 1)
	default:
		c.ready += len(raw) - 1
	}
}

func (c *Conn) judge(raw []byte) error {
	if len(raw) < 2 || raw[len(raw)-2] != '\r' {
		return malformed("a line ends without a carriage return")
	}
	text := raw[:len(raw)-2]
	for _, b := range text {
		if b < ' ' && b != '\t' || b == 0x7f {
			return malformed("a line holds the control character %#x", b)
		}
	}
	switch c.state {
	case requestLine:
		c.state = headerLine
		return c.head.request(text)
	case headerLine:
		if len(text) == 0 {
			return c.endOfHead()
		}
		return c.head.field(text)
	case chunkLine:
		return c.chunk(text)
	case chunkEnd:
		c.state = chunkLine
		if len(text) != 0 {
			return malformed("chunk data is longer than its size says")
		}
		return nil
	}
	return c.trailer(text)
}

func (c *Conn) endOfHead() error {
	if err := c.head.verdict(); err != nil {
		return err
	}
	switch {
	case c.head.chunked:
		c.state, c.size = chunkLine, 0
	case c.head.length > 0:
		c.state, c.left = fixedBody, c.head.length
	default:
		c.nextMessage()
	}
	return nil
}

func (c *Conn) chunk(text []byte) error {
	n, err := chunkSize(text)
	if err != nil {
		return err
	}
	c.size = 0
	if c.left = n; n == 0 {
		c.state = trailerLine
	} else {
		c.state = chunkData
	}
	return nil
}

func (c *Conn) trailer(text []byte) error {
	if len(text) == 0 {
		c.nextMessage()
		return nil
	}
	name, _, err := splitField(text)
	switch {
	case err != nil:
		return err
	case isAny(name, "content-length", "transfer-encoding", "host"):
		return malformed("the trailer field %q belongs into the head", name)
	case c.size > MaxHead:
		return malformed("the trailer section is longer than %d bytes", MaxHead)
	}
	return nil
}
