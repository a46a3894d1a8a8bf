// Package ec2 decides about private networks: VPCs, subnets, routes, gateways, security groups, network interfaces,
// private hosts and what belongs to them. One method per use case, one transaction each. Errors are *app.Error whose
// Code is EC2's (InvalidVpcID.NotFound …).
package ec2

import (
	"cmp"
	"context"
	"strings"
	"time"

	"github.com/funade/funade/internal/app"
	"github.com/funade/funade/internal/base/id"
	"github.com/funade/funade/internal/store"
)

// Config is what the use cases depend on.
type Config struct {
	// Now tells the time; nil = time.Now.
	Now    func() time.Time
	IDs    id.Source
	Quotas Quotas
	// RegistryHosts are names of the install's registry beside AWS's form, as in control.Config.
	RegistryHosts []string
	// Report takes errors of the keeper; nil = nobody hears of them.
	Report func(error)
}

// rulesPerInterface bounds the rules of a direction that an interface can carry: RulesPerGroup is cut to what is left of it
// for each of GroupsPerInterface groups.
const rulesPerInterface = 1000

// Quotas are the limits of one account and region (VPC guide, "Amazon VPC quotas"). Zero means the default.
type Quotas struct {
	VPCs, SubnetsPerVPC, GroupsPerRegion, RulesPerGroup, GroupsPerInterface int
	RouteTablesPerVPC, RoutesPerTable, ACLsPerVPC, EntriesPerACL            int
	InternetGateways, NATGatewaysPerZone, ElasticIPs, EndpointsPerVPC       int
	Interfaces, PrefixLists, EntriesPerPrefixList, BlocksPerVPC, FlowLogs   int
	Hosts, Volumes, KeyPairs, DHCPOptionSets, LANs                          int
}

func (q Quotas) withDefaults() Quotas {
	for _, d := range []struct {
		to    *int
		value int
	}{
		{&q.VPCs, 5}, {&q.SubnetsPerVPC, 200}, {&q.GroupsPerRegion, 2500}, {&q.RulesPerGroup, 60}, {&q.GroupsPerInterface, 5},
		{&q.RouteTablesPerVPC, 200}, {&q.RoutesPerTable, 500}, {&q.ACLsPerVPC, 200}, {&q.EntriesPerACL, 20},
		{&q.InternetGateways, 5}, {&q.NATGatewaysPerZone, 5}, {&q.ElasticIPs, 5}, {&q.EndpointsPerVPC, 50},
		{&q.Interfaces, 5000}, {&q.PrefixLists, 100}, {&q.EntriesPerPrefixList, 1000}, {&q.BlocksPerVPC, 5}, {&q.FlowLogs, 100},
		{&q.Hosts, 100}, {&q.Volumes, 200}, {&q.KeyPairs, 5000}, {&q.DHCPOptionSets, 100}, {&q.LANs, 20},
	} {
		*d.to = cmp.Or(*d.to, d.value)
	}
	q.RulesPerGroup = min(q.RulesPerGroup, rulesPerInterface/q.GroupsPerInterface)
	return q
}

// EC2 answers use cases. Its methods are safe for concurrent use.
type EC2 struct {
	store *store.Store
	cfg   Config
}

// New makes an EC2 over a store.
func New(st *store.Store, cfg Config) *EC2 {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	cfg.Quotas = cfg.Quotas.withDefaults()
	return &EC2{st, cfg}
}

// Quotas returns the limits that bind.
func (c *EC2) Quotas() Quotas { return c.cfg.Quotas }

// now is the time that rows record: UTC, whole milliseconds.
func (c *EC2) now() time.Time { return c.cfg.Now().UTC().Truncate(time.Millisecond) }

// view reads in a scope whose default VPC exists.
func (c *EC2) view(ctx context.Context, scope app.Scope, fn func(tx *store.Tx) error) error {
	ready := false
	err := c.store.View(ctx, func(tx *store.Tx) error {
		if row, _ := store.Scopes.Get(tx, scope); row.Network {
			ready = true
			return fn(tx)
		}
		return nil
	})
	if err != nil || ready {
		return err
	}
	return c.update(ctx, scope, fn)
}

// update changes rows in a scope whose default VPC exists.
func (c *EC2) update(ctx context.Context, scope app.Scope, fn func(tx *store.Tx) error) error {
	return c.store.Update(ctx, func(tx *store.Tx) error {
		if row, _ := store.Scopes.Get(tx, scope); !row.Network {
			c.seed(tx, scope)
		}
		return fn(tx)
	})
}

// fail makes an error with EC2's code; the message says field, value and remedy.
func fail(kind app.Kind, code, format string, args ...any) error {
	e := app.Errorf(kind, "", format, args...)
	e.Code = code
	return e
}

// malformed are the codes for ids that lack the prefix of their kind, by the code for those that do not exist (EC2 API
// reference, "Error codes"). Their spelling follows no rule.
var malformed = map[string]struct{ prefix, code string }{
	"InvalidVpcID.NotFound":               {"vpc-", "InvalidVpcID.Malformed"},
	"InvalidSubnetID.NotFound":            {"subnet-", "InvalidSubnetID.Malformed"},
	"InvalidGroup.NotFound":               {"sg-", "InvalidGroupId.Malformed"},
	"InvalidSecurityGroupRuleId.NotFound": {"sgr-", "InvalidSecurityGroupRuleId.Malformed"},
	"InvalidRouteTableID.NotFound":        {"rtb-", "InvalidRouteTableId.Malformed"},
	"InvalidPrefixListID.NotFound":        {"pl-", "InvalidPrefixListId.Malformed"},
}

// notFound is EC2's error for an id that does not exist here: noun is "vpc ID", "subnet ID" …
func notFound(code, noun, id string) error {
	if m, ok := malformed[code]; ok && !strings.HasPrefix(id, m.prefix) {
		return fail(app.KindInvalidRequest, m.code, "Invalid id: \"%s\" (expecting \"%s...\")", id, m.prefix)
	}
	return fail(app.KindNotFound, code, "The %s '%s' does not exist", noun, id)
}

// Tags returns the tags of an object.
func Tags(tx *store.Tx, id string) app.Tags {
	row, _ := store.TagSets.Get(tx, app.Resource(id))
	return row.Tags
}
