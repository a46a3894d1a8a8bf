package session

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// pair returns two ends of a session; the first one has the idle limit.
func pair(t *testing.T, idle time.Duration) (a, b *Conn) {
	left, right := net.Pipe()
	a, b = New(left, bufio.NewReader(left), idle), New(right, bufio.NewReader(right), 0)
	t.Cleanup(func() { a.Close(); b.Close() })
	return a, b
}

func TestFrames(t *testing.T) {
	a, b := pair(t, 0)
	big := strings.Repeat("x", 3*MaxPayload+1)
	go func() {
		_, err := io.WriteString(a.Writer(Output), big)
		err = errors.Join(err, a.End(Output), a.SendResize(120, 40), a.SendExit(-1), a.SendFailure(errors.New("no")))
		if err != nil {
			t.Error(err)
		}
		a.Close()
	}()
	var got bytes.Buffer
	for {
		k, p, err := b.Receive()
		if err != nil || k != Output {
			t.Fatalf("kind %d, %v", k, err)
		}
		if len(p) == 0 {
			break
		}
		got.Write(p)
	}
	if got.String() != big {
		t.Errorf("%d bytes arrived of %d", got.Len(), len(big))
	}
	if k, p, err := b.Receive(); err != nil || k != Resize {
		t.Errorf("kind %d, %v", k, err)
	} else if w, h, err := Size(p); err != nil || w != 120 || h != 40 {
		t.Errorf("size %d×%d, %v", w, h, err)
	}
	if k, p, err := b.Receive(); err != nil || k != Exit {
		t.Errorf("kind %d, %v", k, err)
	} else if code, err := ExitCode(p); err != nil || code != -1 {
		t.Errorf("exit code %d, %v", code, err)
	}
	if k, p, err := b.Receive(); err != nil || k != Failure || string(p) != "no" {
		t.Errorf("kind %d, %q, %v", k, p, err)
	}
	if _, _, err := b.Receive(); !errors.Is(err, io.EOF) {
		t.Errorf("after the end: %v", err)
	}
}

func TestSendTooMuch(t *testing.T) {
	a, _ := pair(t, 0)
	if err := a.Send(Input, make([]byte, MaxPayload+1)); err == nil {
		t.Error("a frame beyond the limit was sent")
	}
}

// TestSilence: an end that lives is not gone however little it says; one that does not speak the protocol is.
func TestSilence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := pair(t, 0)
		received := make(chan error, 2)
		for _, c := range []*Conn{a, b} {
			go func() { _, _, err := c.Receive(); received <- err }()
		}
		time.Sleep(time.Hour)
		select {
		case err := <-received:
			t.Fatalf("a silent session ended: %v", err)
		default:
		}
		a.Close()
		if err := <-received; err == nil {
			t.Error("a closed session goes on")
		}
	})
	synctest.Test(t, func(t *testing.T) {
		left, right := net.Pipe()
		go func() { _, _ = io.Copy(io.Discard, right) }()
		a := New(left, bufio.NewReader(left), 0)
		began := time.Now()
		_, _, err := a.Receive()
		if took := time.Since(began); !errors.Is(err, errGone) || took != goneAfter {
			t.Errorf("after %v: %v", took, err)
		}
		right.Close()
	})
}

func TestIdle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := pair(t, 10*time.Minute)
		told := make(chan string, 1)
		go func() {
			k, p, err := b.Receive()
			told <- fmt.Sprintf("%d %s %v", k, p, err)
		}()
		go func() {
			time.Sleep(9 * time.Minute)
			if err := b.Send(Input, []byte("x")); err != nil {
				t.Error(err)
			}
		}()
		began := time.Now()
		if k, _, err := a.Receive(); err != nil || k != Input {
			t.Fatalf("kind %d, %v", k, err)
		}
		if _, _, err := a.Receive(); !errors.Is(err, ErrIdle) || time.Since(began) != 19*time.Minute {
			t.Errorf("after %v: %v", time.Since(began), err)
		}
		if got, want := <-told, fmt.Sprintf("%d %v <nil>", Failure, ErrIdle); got != want {
			t.Errorf("the other end got %s; want %s", got, want)
		}
	})
}

func TestUpgrade(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !Wanted(r) || r.Header.Get("Authorization") != "Bearer secret" {
			http.Error(w, "No such session.", http.StatusForbidden)
			return
		}
		c, err := Accept(w, r, 0)
		if err != nil {
			t.Error(err)
			return
		}
		defer c.Close()
		for {
			k, p, err := c.Receive()
			if err != nil || c.Send(k, p) != nil {
				return
			}
		}
	}))
	defer srv.Close()
	transport := http.DefaultTransport.(*http.Transport)
	if _, err := Dial(t.Context(), transport, srv.URL, "wrong"); err == nil || !strings.Contains(err.Error(), "No such session.") {
		t.Errorf("with a wrong token: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	c, err := Dial(ctx, transport, srv.URL, "secret")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.Send(Input, []byte("hello")); err != nil {
		t.Fatal(err)
	}
	if k, p, err := c.Receive(); err != nil || k != Input || string(p) != "hello" {
		t.Errorf("echo: %d, %q, %v", k, p, err)
	}
	cancel()
	if _, _, err := c.Receive(); !errors.Is(err, context.Canceled) {
		t.Errorf("after the end of its context: %v", err)
	}
}

// FuzzRead: whatever arrives, a frame is within the limits and is what was sent, or there is an error.
func FuzzRead(f *testing.F) {
	f.Add([]byte{1, 0, 0, 0, 2, 'h', 'i'})
	f.Add([]byte{4, 0, 0, 0, 4, 0, 80, 0, 24})
	f.Add([]byte{7, 0, 0, 0, 0, 5, 0, 0, 0, 4, 255, 255, 255, 255})
	f.Add([]byte{2, 255, 255, 255, 255})
	f.Fuzz(func(t *testing.T, data []byte) {
		r := bytes.NewReader(data)
		buffer := make([]byte, MaxPayload)
		for rest := data; ; {
			k, p, err := read(r, buffer)
			if err != nil {
				return
			}
			if k < Input || k > Alive || uint32(len(p)) > k.most() {
				t.Fatalf("kind %d with %d bytes", k, len(p))
			}
			if len(rest) < header+len(p) || rest[0] != byte(k) || !bytes.Equal(rest[header:header+len(p)], p) {
				t.Fatalf("kind %d, payload %q of %q", k, p, rest)
			}
			rest = rest[header+len(p):]
			if k == Exit {
				_, err = ExitCode(p)
			} else if k == Resize {
				_, _, err = Size(p)
			}
			if (err == nil) != (len(p) == 4) && (k == Exit || k == Resize) {
				t.Fatalf("kind %d of %d bytes: %v", k, len(p), err)
			}
		}
	})
}
