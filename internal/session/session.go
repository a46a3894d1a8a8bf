// Package session is the small protocol of a person's way in: a process inside an instance, or a connection through
// its network. It is spoken over a connection that HTTP has upgraded, the same at both ends.
//
// A frame is one byte of kind, four bytes of length (big endian) and the payload. The client sends Input and Resize, the
// server Output, Errors and one last Exit or Failure; a frame of a stream without payload ends that stream. Both send
// Alive when they have nothing else to say, so that each notices that the other is gone.
package session

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"
)

// Protocol is the name to upgrade to.
const Protocol = "funade-stream"

// Kind says what a frame holds.
type Kind byte

// The kinds.
const (
	Input   Kind = iota + 1 // bytes for the process or the remote end
	Output                  // bytes from its standard output or the remote end
	Errors                  // bytes from its standard error
	Resize                  // the terminal's width and height, two bytes each
	Exit                    // the exit code, four bytes; the last frame
	Failure                 // why it ended otherwise, a text; the last frame
	Alive                   // nothing
)

// Limits of the protocol.
const (
	// MaxPayload bounds a frame's payload in bytes.
	MaxPayload = 32 << 10
	// aliveEvery is how often a silent end says that it is there; goneAfter is when the other end counts as gone.
	aliveEvery = 20 * time.Second
	goneAfter  = 90 * time.Second
	// lastWord is how long telling why a session ends may take.
	lastWord = 5 * time.Second
	header   = 5
)

// ErrIdle ends a session in which nobody said anything for the time that the server allows.
var ErrIdle = errors.New("nothing was sent or received for too long")

// errGone ends a session whose other end went away without a word.
var errGone = errors.New("the other end went silent")

// Conn is one end of a session. One goroutine may receive while others send.
type Conn struct {
	rw io.ReadWriteCloser
	in *bufio.Reader
	// payload is Receive's buffer.
	payload [MaxPayload]byte

	sending sync.Mutex
	frame   [header + MaxPayload]byte

	mu     sync.Mutex
	gone   *time.Timer
	idle   *time.Timer
	limit  time.Duration
	alive  *time.Ticker
	closed chan struct{}
	cause  error
	// release forgets the context that Dial was given.
	release func() bool
}

// New speaks the protocol over a connection; what in has buffered is read first. A session without Input, Output and
// Errors for the time idle is closed; 0 = never.
func New(rw io.ReadWriteCloser, in *bufio.Reader, idle time.Duration) *Conn {
	c := &Conn{rw: rw, in: in, limit: idle, alive: time.NewTicker(aliveEvery), closed: make(chan struct{})}
	c.gone = time.AfterFunc(goneAfter, func() { c.closeWith(errGone) })
	c.gone.Stop() // it runs while somebody receives
	if idle > 0 {
		c.idle = time.AfterFunc(idle, c.expire)
	}
	go c.keepAlive()
	return c
}

// expire tells the other end why the session ends, if it listens, and ends it.
func (c *Conn) expire() {
	defer time.AfterFunc(lastWord, func() { c.closeWith(ErrIdle) }).Stop()
	_ = c.SendFailure(ErrIdle) // whoever does not listen learns it from the end
	c.closeWith(ErrIdle)
}

// Done is closed when this end has closed the session, or found it broken while it sent.
func (c *Conn) Done() <-chan struct{} { return c.closed }

// keepAlive sends Alive until the session is closed.
func (c *Conn) keepAlive() {
	for {
		select {
		case <-c.closed:
			return
		case <-c.alive.C:
			if err := c.Send(Alive, nil); err != nil {
				c.closeWith(err)
				return
			}
		}
	}
}

// Close ends the session at once. It may be repeated.
func (c *Conn) Close() error { return c.closeWith(io.ErrClosedPipe) }

func (c *Conn) closeWith(cause error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cause != nil {
		return nil
	}
	c.cause = cause
	c.alive.Stop()
	c.gone.Stop()
	if c.idle != nil {
		c.idle.Stop()
	}
	if c.release != nil {
		c.release()
	}
	close(c.closed)
	return c.rw.Close()
}

// why prefers the reason for which this end closed the connection over what reading or writing then met.
func (c *Conn) why(err error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cause != nil {
		return c.cause
	}
	return err
}

// wait starts or stops the time after which the other end counts as gone: one that nobody listens to may be there.
func (c *Conn) wait(receiving bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.cause != nil:
	case receiving:
		c.gone.Reset(goneAfter)
	default:
		c.gone.Stop()
	}
}

// used notes that one of the ends had something to say.
func (c *Conn) used(k Kind) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cause == nil && c.idle != nil && k != Alive {
		c.idle.Reset(c.limit)
	}
}

// Send sends one frame; the payload has at most MaxPayload bytes.
func (c *Conn) Send(k Kind, payload []byte) error {
	if len(payload) > MaxPayload {
		return fmt.Errorf("cannot send frame: it has %d bytes, at most %d fit", len(payload), MaxPayload)
	}
	c.sending.Lock()
	defer c.sending.Unlock()
	c.frame[0] = byte(k)
	binary.BigEndian.PutUint32(c.frame[1:], uint32(len(payload)))
	n := copy(c.frame[header:], payload)
	if _, err := c.rw.Write(c.frame[:header+n]); err != nil {
		return c.why(fmt.Errorf("cannot send frame: %w", err))
	}
	c.used(k)
	return nil
}

// Receive returns the next frame that is not Alive. The payload is valid until the next call. io.EOF means that the
// other end closed the connection between two frames.
func (c *Conn) Receive() (Kind, []byte, error) {
	defer c.wait(false)
	for {
		c.wait(true)
		k, payload, err := read(c.in, c.payload[:])
		if err != nil {
			return 0, nil, c.why(err)
		}
		if c.used(k); k != Alive {
			return k, payload, nil
		}
	}
}

// read reads one frame into a buffer of MaxPayload bytes.
func read(r io.Reader, buffer []byte) (Kind, []byte, error) {
	var head [header]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return 0, nil, err
	}
	k, size := Kind(head[0]), binary.BigEndian.Uint32(head[1:])
	if k < Input || k > Alive {
		return 0, nil, fmt.Errorf("cannot read frame: %d is no kind", k)
	}
	if most := k.most(); size > most {
		return 0, nil, fmt.Errorf("cannot read frame: kind %d has %d bytes, at most %d are allowed", k, size, most)
	}
	payload := buffer[:size]
	if _, err := io.ReadFull(r, payload); err != nil {
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return 0, nil, fmt.Errorf("cannot read frame: %w", err)
	}
	return k, payload, nil
}

// most is how long a payload of the kind may be.
func (k Kind) most() uint32 {
	switch k {
	case Resize, Exit:
		return 4
	case Alive:
		return 0
	}
	return MaxPayload
}

// Writer sends what is written to it as frames of a kind. It never sends an empty frame: End does.
func (c *Conn) Writer(k Kind) io.Writer { return writer{c, k} }

type writer struct {
	c *Conn
	k Kind
}

func (w writer) Write(p []byte) (int, error) {
	n := 0
	for n < len(p) {
		part := p[n:min(len(p), n+MaxPayload)]
		if err := w.c.Send(w.k, part); err != nil {
			return n, err
		}
		n += len(part)
	}
	return n, nil
}

// End says that a stream has ended.
func (c *Conn) End(k Kind) error { return c.Send(k, nil) }

// SendExit ends the session with a process's exit code.
func (c *Conn) SendExit(code int) error {
	return c.Send(Exit, binary.BigEndian.AppendUint32(nil, uint32(int32(code))))
}

// SendFailure ends the session with a reason for people; what does not fit is cut off.
func (c *Conn) SendFailure(err error) error {
	text := err.Error()
	return c.Send(Failure, []byte(text[:min(len(text), MaxPayload)]))
}

// ExitCode reads the payload of Exit.
func ExitCode(payload []byte) (int, error) {
	if len(payload) != 4 {
		return 0, fmt.Errorf("cannot read exit code: it has %d bytes, not 4", len(payload))
	}
	return int(int32(binary.BigEndian.Uint32(payload))), nil
}

// SendResize tells the terminal's size.
func (c *Conn) SendResize(width, height int) error {
	p := binary.BigEndian.AppendUint16(nil, uint16(width))
	return c.Send(Resize, binary.BigEndian.AppendUint16(p, uint16(height)))
}

// Size reads the payload of Resize.
func Size(payload []byte) (width, height int, err error) {
	if len(payload) != 4 {
		return 0, 0, fmt.Errorf("cannot read terminal size: it has %d bytes, not 4", len(payload))
	}
	return int(binary.BigEndian.Uint16(payload)), int(binary.BigEndian.Uint16(payload[2:])), nil
}
