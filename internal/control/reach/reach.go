// Package reach decides who reaches what: it explains connectivity by the rules that the kernel holds, and it lets
// persons into instances, which it tells in the event log.
package reach

import (
	"cmp"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/funade/funade/internal/app"
	"github.com/funade/funade/internal/control/operation"
	"github.com/funade/funade/internal/store"
)

// Config is what the use cases depend on.
type Config struct {
	// Now tells the time; nil = time.Now.
	Now func() time.Time
	// EgressAllow are the private ranges that DEFAULT egress reaches beside the internet (--default-egress-allow).
	EgressAllow []netip.Prefix
	// OwnAddresses lists the addresses of this machine, which answers no packet of an instance; nil = none are known.
	OwnAddresses func() []netip.Addr
}

// Reach answers use cases. Its methods are safe for concurrent use.
type Reach struct {
	store *store.Store
	cfg   Config
}

// New makes a Reach over a store.
func New(st *store.Store, cfg Config) *Reach {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	return &Reach{st, cfg}
}

func invalid(format string, args ...any) error {
	return app.Errorf(app.KindInvalidRequest, "", format, args...)
}

func notFound(resource, format string, args ...any) error {
	return app.Errorf(app.KindNotFound, resource, format, args...)
}

func invalidState(resource, format string, args ...any) error {
	return app.Errorf(app.KindInvalidState, resource, format, args...)
}

// The forms of ids.
var (
	hostID      = regexp.MustCompile(`^i-[0-9a-f]{17}$`)
	interfaceID = regexp.MustCompile(`^eni-[0-9a-f]{17}$`)
)

// party is a service or a private host that a person named; exactly one of the two is set.
type party struct {
	service *app.Service
	host    *app.Host
}

// find looks up a service by its ARN or name, with or without service/ in front of it, or a private host by its id.
func find(tx *store.Tx, scope app.Scope, named string) (party, error) {
	if hostID.MatchString(named) {
		h, ok := store.Hosts.Get(tx, app.HostID(named))
		if !ok || h.Scope != scope {
			return party{}, notFound(named, "The instance %s does not exist in account %s and region %s.", named, scope.Account, scope.Region)
		}
		return party{host: &h}, nil
	}
	name, id := strings.TrimPrefix(named, "service/"), ""
	if strings.HasPrefix(named, "arn:") {
		arn, err := app.ParseARN(named)
		if err != nil {
			return party{}, err
		}
		rest, isService := strings.CutPrefix(arn.Resource, "service/")
		if arn.Service != "apprunner" || !isService {
			return party{}, invalid("The ARN %q is not a service's. Name a service (service/NAME or its ARN) or an instance (i-…).", named)
		}
		if arn.Scope != scope {
			return party{}, notFound(named, "Service %s does not exist in account %s and region %s.", named, scope.Account, scope.Region)
		}
		name, id, _ = strings.Cut(rest, "/")
	}
	svc, ok := store.ServicesByName.First(tx, app.NamedKey{Scope: scope, Name: name})
	if !ok || id != "" && string(svc.ID) != id {
		return party{}, notFound(named, "There is no service %s in account %s and region %s.", named, scope.Account, scope.Region)
	}
	return party{service: &svc}, nil
}

// String is how texts name it.
func (p party) String() string {
	if p.host != nil {
		return "instance " + string(p.host.ID)
	}
	return "service " + p.service.Name
}

// running returns its instances that run, those first that serve, the newest of them first.
func (p party) running(tx *store.Tx) []app.Instance {
	if p.host != nil {
		i, ok := store.Instances.Get(tx, p.host.Run)
		if ok && phase(tx, i) == app.PhaseRunning {
			return []app.Instance{i}
		}
		return nil
	}
	var out []app.Instance
	for i := range store.InstancesByService.Each(tx, p.service.ID) {
		if i.Goal != app.GoalStop && phase(tx, i) == app.PhaseRunning {
			out = append(out, i)
		}
	}
	rank := func(i app.Instance) int {
		health, _ := store.InstanceHealths.Get(tx, i.ID)
		switch {
		case i.Revision == p.service.Routed && health.Healthy && i.Goal == app.GoalRun:
			return 0
		case i.Goal == app.GoalRun:
			return 1
		}
		return 2
	}
	slices.SortFunc(out, func(a, b app.Instance) int {
		return cmp.Or(cmp.Compare(rank(a), rank(b)), b.CreatedAt.Compare(a.CreatedAt), cmp.Compare(a.ID, b.ID))
	})
	return out
}

func phase(tx *store.Tx, i app.Instance) app.InstancePhase {
	s, _ := store.InstanceStatuses.Get(tx, i.ID)
	return s.Phase
}

// connector returns the VPC connector that a service sends through; nil = DEFAULT egress.
func (p party) connector(tx *store.Tx) (*app.VPCConnector, error) {
	network := p.service.Config.Network
	if network.EgressType != app.EgressVPC {
		return nil, nil
	}
	c, ok := operation.Connector(tx, p.service.Config)
	if !ok {
		return nil, invalidState(p.service.ARN(), "The VPC connector %s of the service %s no longer exists. Update the service to use another one.", network.VpcConnectorARN, p.service.Name)
	}
	return &c, nil
}
