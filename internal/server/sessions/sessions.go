// Package sessions serves a person's way in: processes inside instances and connections through their networks. A
// signed API call issues a ticket, which holds all that the session may do; the connection that shows its token within
// half a minute, once, is the session.
package sessions

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/funade/funade/internal/app"
	"github.com/funade/funade/internal/session"
)

// Path is where sessions are opened: Path plus the session's id.
const Path = "/funade/session/"

// Limits of sessions.
const (
	// ticketTTL is how long a token is valid.
	ticketTTL = 30 * time.Second
	// maxTickets bounds tokens that wait for their connection, maxSessions what is open at once.
	maxTickets  = 256
	maxSessions = 256
	// idleLimit ends a session in which nothing moves.
	idleLimit = time.Hour
	// dialTimeout bounds looking the host's name up and connecting.
	dialTimeout = 15 * time.Second
)

// Execer starts processes inside instances.
type Execer interface {
	// Exec starts a process that is killed, with all that it started, when ctx ends.
	Exec(ctx context.Context, id app.InstanceID, e Exec) (Process, error)
}

// Exec is a process to start.
type Exec struct {
	Args          []string
	Env           []string
	User          string
	Terminal      bool
	Width, Height int
	Stdin         io.Reader
	Stdout        io.Writer
	Stderr        io.Writer
}

// Process is a process that was started.
type Process interface {
	Resize(ctx context.Context, width, height int) error
	Wait() (exitCode int, err error)
}

// Inside makes connections from inside instances' networks.
type Inside interface {
	DialFrom(ctx context.Context, id app.InterfaceID, addr netip.AddrPort) (net.Conn, error)
	LookupFrom(ctx context.Context, id app.InterfaceID, name string) ([]netip.Addr, error)
}

// Ticket is what a session may do: run Process, or connect to Host and Port when there are no Args.
type Ticket struct {
	Instance  app.InstanceID
	Interface app.InterfaceID
	// Process has no streams yet.
	Process Exec
	// Host is a name or an address.
	Host string
	Port int
}

// Server issues tickets and serves sessions.
type Server struct {
	execer  Execer
	inside  Inside
	now     func() time.Time
	base    context.Context
	cancel  context.CancelFunc
	mu      sync.Mutex
	tickets map[string]issued
	open    int
	closed  bool
	working sync.WaitGroup
}

type issued struct {
	Ticket
	token   [sha256.Size]byte
	expires time.Time
}

// New returns a server; Close ends its sessions.
func New(x Execer, inside Inside, now func() time.Time) *Server {
	s := &Server{execer: x, inside: inside, now: now, tickets: map[string]issued{}}
	s.base, s.cancel = context.WithCancel(context.Background())
	return s
}

// Close kills the processes and connections of all sessions and waits for their end.
func (s *Server) Close() error {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.cancel()
	s.working.Wait()
	return nil
}

// Issue makes a ticket usable once, for half a minute.
func (s *Server) Issue(t Ticket) (id, token string, expires time.Time, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	for old, i := range s.tickets {
		if !now.Before(i.expires) {
			delete(s.tickets, old)
		}
	}
	if len(s.tickets) >= maxTickets {
		return "", "", time.Time{}, app.Errorf(app.KindThrottled, "", "%d sessions wait for their connection, which is the limit. Try again in half a minute.", maxTickets)
	}
	id, token = random(12), random(32)
	i := issued{t, sha256.Sum256([]byte(token)), now.Add(ticketTTL)}
	s.tickets[id] = i
	return id, token, i.expires, nil
}

// random returns n random bytes as text that is fit for a URL.
func random(n int) string {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails (crypto/rand)
	return base64.RawURLEncoding.EncodeToString(b)
}

// errLimit: no more sessions fit.
var errLimit = errors.New("too many sessions are open; end one first")

// redeem takes the ticket that a token belongs to, and a place among the open sessions.
func (s *Server) redeem(id, token string) (Ticket, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	i, ok := s.tickets[id]
	sum := sha256.Sum256([]byte(token))
	if !ok || subtle.ConstantTimeCompare(sum[:], i.token[:]) != 1 || !s.now().Before(i.expires) {
		return Ticket{}, errors.New("there is no such session, or its token was used or has expired; open another one")
	}
	if s.open >= maxSessions || s.closed {
		return Ticket{}, errLimit
	}
	delete(s.tickets, id)
	s.open++
	s.working.Add(1)
	return i.Ticket, nil
}

func (s *Server) release() {
	s.mu.Lock()
	s.open--
	s.mu.Unlock()
	s.working.Done()
}

// ServeHTTP upgrades a connection that shows a ticket's token and serves the session on it.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet || !session.Wanted(r) {
		w.Header().Set("Upgrade", session.Protocol)
		http.Error(w, "Sessions are opened by GET with Connection: Upgrade and Upgrade: "+session.Protocol+".", http.StatusUpgradeRequired)
		return
	}
	token, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	ticket, err := s.redeem(strings.TrimPrefix(r.URL.Path, Path), token)
	if err != nil {
		status := http.StatusForbidden
		if errors.Is(err, errLimit) {
			status = http.StatusServiceUnavailable
		}
		http.Error(w, err.Error(), status)
		return
	}
	defer s.release()
	c, err := session.Accept(w, r, idleLimit)
	if err != nil {
		return // it has been answered
	}
	defer c.Close()
	ctx, cancel := context.WithCancel(s.base)
	defer cancel()
	defer context.AfterFunc(s.base, func() { c.Close() })()
	go func() { <-c.Done(); cancel() }()
	if len(ticket.Process.Args) > 0 {
		s.exec(ctx, cancel, c, ticket)
		return
	}
	s.forward(ctx, c, ticket)
}
