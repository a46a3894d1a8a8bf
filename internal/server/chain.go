// Package server answers everything that arrives at the API address: the AWS APIs, the registry and
// the health of the install. Each AWS service has a package of its own below this one.
package server

import (
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/funade/funade/internal/aws/wire"
	"github.com/funade/funade/internal/server/sessions"
)

// HealthPath answers 200 with versions when everything is ready.
const HealthPath = "/_funade/health"

// Limits towards clients of the API address.
const (
	headerTimeout = 10 * time.Second
	idleTimeout   = 2 * time.Minute
	maxHeader     = 64 << 10
	// apiTimeout bounds reading and answering one API request; the registry sets its own deadlines.
	apiTimeout = 60 * time.Second
)

// Chain is the path of every API request, in order.
func Chain(m *wire.Mux) []wire.Step {
	return []wire.Step{
		m.Identify,  // which protocol and service: credential scope, X-Amz-Target, Action
		m.ReadBody,  // up to 1 MiB
		m.Verify,    // SigV4; sets the caller
		m.Decode,    // which operation, and its input
		m.Validate,  // the model's constraints, all violations at once
		m.Authorize, // may refuse
		m.Invoke,    // the handler
	}
}

// Handler routes by path: the registry below /v2/ and /token, sessions, health, and the API for everything else.
func Handler(api, registry, session, health http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch path := r.URL.Path; {
		case path == "/v2" || strings.HasPrefix(path, "/v2/") || path == "/token":
			registry.ServeHTTP(w, r)
		case strings.HasPrefix(path, sessions.Path):
			session.ServeHTTP(w, r)
		case path == HealthPath:
			health.ServeHTTP(w, r)
		default:
			deadline := time.Now().Add(apiTimeout)
			c := http.NewResponseController(w)
			_ = c.SetReadDeadline(deadline)
			_ = c.SetWriteDeadline(deadline)
			api.ServeHTTP(w, r)
			_ = c.Flush()                       // what is left of the answer is under the deadline too
			_ = c.SetWriteDeadline(time.Time{}) // net/http would keep it for the connection's next request
		}
	})
}

// HTTPServer returns the server for the API address. Failed handshakes are the clients' affair: they are no lines of
// the server's log.
func HTTPServer(h http.Handler) *http.Server {
	return &http.Server{
		Handler: h, ReadHeaderTimeout: headerTimeout, IdleTimeout: idleTimeout, MaxHeaderBytes: maxHeader,
		ErrorLog: slog.NewLogLogger(slog.Default().Handler(), slog.LevelDebug),
	}
}
