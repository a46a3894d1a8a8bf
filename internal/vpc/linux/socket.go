package linux

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/funade/funade/internal/app"
	"github.com/funade/funade/internal/vpc/linux/sockettable"
)

// Dial implements vpc.Sockets. Only the socket is made inside the management namespace; it stays there while
// connecting and afterwards, whichever thread uses it.
func (d *Dataplane) Dial(ctx context.Context, id app.InterfaceID, addr netip.AddrPort) (net.Conn, error) {
	have, ok := (*d.attached.Load())[id]
	if !ok || !have.IsValid() {
		return nil, fmt.Errorf("cannot dial %v: interface %s is not attached", addr, id)
	}
	if have != addr.Addr() {
		return nil, fmt.Errorf("cannot dial %v: interface %s has the address %v", addr, id, have)
	}
	conn, err := d.dial(ctx, addr)
	if err != nil {
		return nil, &net.OpError{Op: "dial", Net: "tcp", Addr: net.TCPAddrFromAddrPort(addr), Err: err}
	}
	return conn, nil
}

func (d *Dataplane) dial(ctx context.Context, addr netip.AddrPort) (net.Conn, error) {
	fd, err := d.socket(ctx, unix.SOCK_STREAM)
	if err != nil {
		return nil, err
	}
	return connect(ctx, fd, addr)
}

// connect connects a socket, which it owns.
func connect(ctx context.Context, fd int, addr netip.AddrPort) (net.Conn, error) {
	f := os.NewFile(uintptr(fd), "socket")
	defer f.Close() // net.FileConn has its own copy
	err := unix.Connect(fd, &unix.SockaddrInet4{Addr: addr.Addr().As4(), Port: int(addr.Port())})
	if err != nil && !errors.Is(err, unix.EINPROGRESS) {
		return nil, os.NewSyscallError("connect", err)
	}
	if err != nil {
		if err := awaitConnect(ctx, f); err != nil {
			return nil, err
		}
	}
	return net.FileConn(f)
}

// awaitConnect waits until a socket's connection stands or failed, or ctx ends.
func awaitConnect(ctx context.Context, f *os.File) error {
	raw, err := f.SyscallConn()
	if err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { f.SetWriteDeadline(time.Unix(1, 0)) })
	defer stop()
	var failed error
	err = raw.Write(func(fd uintptr) bool {
		errno, err := unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_ERROR)
		if err != nil || errno != 0 {
			failed = errors.Join(err, unix.Errno(errno))
			return true
		}
		_, err = unix.Getpeername(int(fd))
		return err == nil // not connected yet: wait until the socket is writable
	})
	if err == nil {
		err = failed
	}
	if ctx.Err() != nil && err != nil {
		return ctx.Err()
	}
	var errno unix.Errno
	if errors.As(err, &errno) {
		return os.NewSyscallError("connect", errno)
	}
	return err
}

// socket makes an IPv4 socket of a type inside the management namespace.
func (d *Dataplane) socket(ctx context.Context, kind int) (fd int, err error) {
	err = d.pool.do(ctx, func() (err error) {
		fd, err = unix.Socket(unix.AF_INET, kind|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
		return os.NewSyscallError("socket", err)
	})
	return fd, err
}

// bound makes a socket with an address of the calling thread's namespace.
func bound(kind int, addr netip.AddrPort) (*os.File, error) {
	fd, err := unix.Socket(unix.AF_INET, kind|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	f := os.NewFile(uintptr(fd), addr.String())
	fail := func(call string, err error) (*os.File, error) {
		f.Close()
		return nil, os.NewSyscallError(call, err)
	}
	if kind == unix.SOCK_STREAM {
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1); err != nil {
			return fail("setsockopt", err)
		}
	}
	if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: addr.Addr().As4(), Port: int(addr.Port())}); err != nil {
		return fail("bind", err)
	}
	if kind == unix.SOCK_STREAM {
		if err := unix.Listen(fd, 4096); err != nil {
			return fail("listen", err)
		}
	}
	return f, nil
}

// ListenDoor implements vpc.Sockets. Instances reach ports 80 and 443 only. Every connection's RemoteAddr has the
// address DoorCaller, whichever instance made it.
func (d *Dataplane) ListenDoor(ctx context.Context, port int) (net.Listener, error) {
	if port < 1 || port > 65535 {
		return nil, fmt.Errorf("cannot listen on door port %d: expected 1 to 65535", port)
	}
	l, err := d.listenTCP(ctx, netip.AddrPortFrom(d.Door(), uint16(port)))
	if err != nil {
		return nil, err
	}
	return d.doors.add(l, d.DoorCaller())
}

// doorSet holds the open door listeners, for Close.
type doorSet struct {
	mu     sync.Mutex
	open   []net.Listener
	closed bool
}

func (s *doorSet) add(l net.Listener, caller netip.Addr) (net.Listener, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		l.Close()
		return nil, errClosed
	}
	s.open = append(s.open, l)
	return doorListener{l.(*net.TCPListener), caller}, nil
}

func (s *doorSet) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	for _, l := range s.open {
		l.Close()
	}
}

type doorListener struct {
	*net.TCPListener
	caller netip.Addr
}

func (l doorListener) Accept() (net.Conn, error) {
	c, err := l.AcceptTCP()
	if err != nil {
		return nil, err
	}
	peer, ok := c.RemoteAddr().(*net.TCPAddr)
	if !ok {
		c.Close()
		return nil, fmt.Errorf("cannot accept connection from %v: not a TCP address", c.RemoteAddr())
	}
	return doorConn{c, &net.TCPAddr{IP: l.caller.AsSlice(), Port: peer.Port}}, nil
}

// doorConn is a TCP connection, splice and half-close included, that names the install's constant caller as its peer.
type doorConn struct {
	*net.TCPConn
	remote net.Addr
}

func (c doorConn) RemoteAddr() net.Addr { return c.remote }

// ListeningPorts implements vpc.Sockets.
func (d *Dataplane) ListeningPorts(ctx context.Context, id app.InterfaceID) ([]int, error) {
	if err := checkInterfaceID(id); err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	ns, err := os.Open(d.netnsPin(id))
	if err != nil {
		return nil, fmt.Errorf("cannot list listening ports: %w", err)
	}
	defer ns.Close()
	var ports []int
	err = inNamespace(ns, func() error {
		for _, family := range []string{"tcp", "tcp6"} {
			f, err := os.Open("/proc/thread-self/net/" + family)
			if errors.Is(err, os.ErrNotExist) {
				continue // a kernel without IPv6
			}
			if err != nil {
				return err
			}
			found, err := sockettable.Listening(f)
			f.Close()
			if err != nil {
				return err
			}
			ports = append(ports, found...)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("cannot list listening ports of %s: %w", id, err)
	}
	slices.Sort(ports)
	return slices.Compact(ports), nil
}
