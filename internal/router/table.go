package router

import (
	"net"
	"net/netip"
	"strings"
	"time"

	"github.com/funade/funade/internal/app"
)

// Table is everything that the router routes by. It is never changed after SetTable took it.
type Table struct {
	// Version is the writer's; the router only reports it.
	Version uint64
	Routes  []Route
}

// Route is one service's entry.
type Route struct {
	Service app.ServiceID
	Name    string
	// Hosts are the names that the service answers at, without ports.
	Hosts    []string
	Revision app.RevisionNumber
	// Targets are the healthy instances of Revision.
	Targets []Target
	// RequestTimeout bounds a whole request, upgraded connections excepted; 0 = app.DefaultRequestTimeout.
	RequestTimeout time.Duration
	State          RouteState
}

// Target is where an instance listens.
type Target struct {
	Instance  app.InstanceID
	Interface app.InterfaceID
	Addr      netip.AddrPort
}

// RouteState says what the service is up to; it chooses the words when there is no target.
type RouteState string

// The route states.
const (
	// RouteServing: requests go to the targets.
	RouteServing RouteState = "SERVING"
	// RoutePaused: the service is paused; targets are ignored.
	RoutePaused RouteState = "PAUSED"
	// RouteStarting: the service has had no healthy instance yet.
	RouteStarting RouteState = "STARTING"
)

// Load is what a service has to do at a moment.
type Load struct {
	// InFlight counts the requests, upgraded connections included, that are being answered.
	InFlight int
	// Started counts all requests since the router first saw the service.
	Started uint64
	// Targets is the number of instances that requests may go to.
	Targets int
}

// compiled is a Table prepared for look-ups.
type compiled struct {
	version uint64
	hosts   map[string]*route
}

// route is a Route with its counters.
type route struct {
	Route
	counts    *serviceCounts
	upstreams []*upstream
}

func (c *compiled) find(host string) *route { return c.hosts[host] }

// hostName brings a Host field or server name into the table's form: lower case, without
// port, brackets and final dot.
func hostName(s string) string {
	if strings.HasPrefix(s, "[") || strings.Count(s, ":") == 1 {
		if h, _, err := net.SplitHostPort(s); err == nil {
			s = h
		} else {
			s = strings.Trim(s, "[]")
		}
	}
	return strings.ToLower(strings.TrimSuffix(s, "."))
}
