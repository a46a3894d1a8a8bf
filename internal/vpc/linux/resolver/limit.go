package resolver

import (
	"net"
	"net/netip"
	"sync"
)

// limited bounds the open connections, those of one client and all together. One too many is closed at once.
type limited struct {
	net.Listener
	mu      sync.Mutex
	total   int
	clients map[netip.Addr]int
}

func newLimited(l net.Listener) *limited {
	return &limited{Listener: l, clients: map[netip.Addr]int{}}
}

// Accept returns the next connection that is within the bounds.
func (l *limited) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		from, _ := netip.ParseAddrPort(c.RemoteAddr().String())
		if l.enter(from.Addr()) {
			return &limitedConn{Conn: c, leave: sync.OnceFunc(func() { l.leave(from.Addr()) })}, nil
		}
		c.Close()
	}
}

func (l *limited) enter(a netip.Addr) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.total >= perResolver || l.clients[a] >= connsPerClient {
		return false
	}
	l.total++
	l.clients[a]++
	return true
}

func (l *limited) leave(a netip.Addr) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.total--
	if l.clients[a]--; l.clients[a] == 0 {
		delete(l.clients, a)
	}
}

type limitedConn struct {
	net.Conn
	leave func()
}

func (c *limitedConn) Close() error {
	defer c.leave()
	return c.Conn.Close()
}
