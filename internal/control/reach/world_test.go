package reach

import (
	"context"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/funade/funade/internal/app"
	"github.com/funade/funade/internal/store"
)

var (
	ctx   = context.Background()
	scope = app.Scope{Account: "000000000000", Region: "us-east-1"}
	began = time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
)

// The world: two VPCs with the same addresses, a private host in each, and services with and without a connector.
const (
	vpcA, vpcB               app.VPCID       = "vpc-0000000000000000a", "vpc-0000000000000000b"
	connectorNet             app.SubnetID    = "subnet-00000000000000001"
	privateNet               app.SubnetID    = "subnet-00000000000000003"
	otherNet                 app.SubnetID    = "subnet-0000000000000000b"
	hostA, hostB, hostOff    app.HostID      = "i-0000000000000000a", "i-0000000000000000b", "i-0000000000000000c"
	eniA, eniB, eniApp       app.InterfaceID = "eni-0000000000000000a", "eni-0000000000000000b", "eni-00000000000000001"
	sgConnector, sgPrivate   app.GroupID     = "sg-0000000000000000c", "sg-0000000000000000d"
	ruleAll, ruleICMP        app.RuleID      = "sgr-00000000000000001", "sgr-00000000000000002"
	instanceA, instanceApp   app.InstanceID  = "0000000000000000000000000000000a", "00000000000000000000000000000001"
	instanceOld, idle        app.InstanceID  = "00000000000000000000000000000002", "00000000000000000000000000000003"
	serviceApp, servicePlain app.ServiceID   = "11111111111111111111111111111111", "22222222222222222222222222222222"
)

func addr(s string) netip.Addr { return netip.MustParseAddr(s) }

type bench struct {
	*Reach
	t  *testing.T
	st *store.Store
}

func newBench(t *testing.T, allow ...string) *bench {
	t.Helper()
	st, err := store.Open(filepath.Join(t.TempDir(), "state.db"), store.Options{NoSync: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = st.Close() })
	c := Config{Now: func() time.Time { return began }, OwnAddresses: func() []netip.Addr { return []netip.Addr{addr("10.8.0.1"), addr("198.51.100.1")} }}
	for _, a := range allow {
		c.EgressAllow = append(c.EgressAllow, netip.MustParsePrefix(a))
	}
	b := &bench{New(st, c), t, st}
	b.update(func(tx *store.Tx) {
		putNetworks(tx)
		putGroups(tx)
		putHosts(tx)
		putServices(tx)
	})
	return b
}

func (b *bench) update(fn func(tx *store.Tx)) {
	b.t.Helper()
	if err := b.st.Update(ctx, func(tx *store.Tx) error { fn(tx); return nil }); err != nil {
		b.t.Fatal(err)
	}
}

func putNetworks(tx *store.Tx) {
	block := netip.MustParsePrefix("192.168.0.0/16")
	for _, id := range []app.VPCID{vpcA, vpcB} {
		store.Control.VPCs.Put(tx, app.VPC{ID: id, Scope: scope, CIDR: block, DNSSupport: true})
		store.Control.RouteTables.Put(tx, app.RouteTable{
			ID: app.RouteTableID("rtb-" + string(id)[4:]), Scope: scope, VPC: id, Routes: []app.Route{{CIDR: block, Kind: app.TargetLocal}},
			Associations: []app.TableAssociation{{ID: "rtbassoc-1", Main: true}},
		})
	}
	for id, in := range map[app.SubnetID]struct {
		vpc  app.VPCID
		cidr string
	}{connectorNet: {vpcA, "192.168.1.0/24"}, privateNet: {vpcA, "192.168.3.0/24"}, otherNet: {vpcB, "192.168.3.0/24"}} {
		store.Control.Subnets.Put(tx, app.Subnet{ID: id, Scope: scope, VPC: in.vpc, CIDR: netip.MustParsePrefix(in.cidr), Zone: "us-east-1a"})
	}
}

func putGroups(tx *store.Tx) {
	for _, g := range []app.GroupID{sgConnector, sgPrivate} {
		store.Control.SecurityGroups.Put(tx, app.SecurityGroup{ID: g, Scope: scope, VPC: vpcA, Name: string(g)})
	}
	store.Control.SecurityGroupRules.Put(tx, app.SecurityGroupRule{ID: ruleAll, Scope: scope, Group: sgConnector, Egress: true, Protocol: -1, FromPort: -1, ToPort: -1, CIDR: netip.MustParsePrefix("0.0.0.0/0")})
	store.Control.SecurityGroupRules.Put(tx, app.SecurityGroupRule{ID: ruleICMP, Scope: scope, Group: sgPrivate, Protocol: 1, FromPort: -1, ToPort: -1, Peer: sgConnector})
}

func putHosts(tx *store.Tx) {
	for id, in := range map[app.InterfaceID]struct {
		vpc    app.VPCID
		subnet app.SubnetID
		owner  app.HostID
	}{eniA: {vpcA, privateNet, hostA}, eniB: {vpcB, otherNet, hostB}} {
		n := app.NetworkInterface{ID: id, Scope: scope, Kind: app.InterfaceOfUser, VPC: in.vpc, Subnet: in.subnet, Addresses: []netip.Addr{addr("192.168.3.194")}, SourceDestCheck: true, Owner: string(in.owner)}
		if in.vpc == vpcA {
			n.Groups = []app.GroupID{sgPrivate}
		}
		store.Control.NetworkInterfaces.Put(tx, n)
	}
	store.Control.Hosts.Put(tx, app.Host{ID: hostA, Scope: scope, State: app.HostRunning, Interfaces: []app.InterfaceID{eniA}, Run: instanceA})
	store.Control.Hosts.Put(tx, app.Host{ID: hostB, Scope: scope, State: app.HostStopped, Interfaces: []app.InterfaceID{eniB}})
	store.Control.Hosts.Put(tx, app.Host{ID: hostOff, Scope: scope, State: app.HostTerminated})
	putInstance(tx, app.Instance{ID: instanceA, Host: hostA, Goal: app.GoalRun}, true, eniA)
}

// putInstance makes an instance that runs, with an attachment of its own.
func putInstance(tx *store.Tx, i app.Instance, healthy bool, enis ...app.InterfaceID) {
	i.Interface = app.InterfaceID("if-" + string(i.ID))
	store.Control.Instances.Put(tx, i)
	store.Control.Interfaces.Put(tx, app.Interface{ID: i.Interface, Instance: i.ID, Scope: scope, VPC: enis})
	store.Observed.InstanceStatuses.Put(tx, app.InstanceStatus{ID: i.ID, Phase: app.PhaseRunning})
	store.Observed.InstanceHealths.Put(tx, app.InstanceHealth{ID: i.ID, Healthy: healthy})
}

func putServices(tx *store.Tx) {
	connector := app.VPCConnector{ID: "cccccccccccccccccccccccccccccccc", Scope: scope, Name: "c", Revision: 1, VPC: vpcA, Subnets: []app.SubnetID{connectorNet}, Groups: []app.GroupID{sgConnector}}
	store.Control.VPCConnectors.Put(tx, connector)
	store.Control.Services.Put(tx, app.Service{
		ID: serviceApp, Scope: scope, Name: "shop", Status: app.ServiceRunning, Routed: 2,
		Config: app.ServiceConfig{Network: app.NetworkConfig{EgressType: app.EgressVPC, VpcConnectorARN: connector.ARN()}},
	})
	store.Control.Services.Put(tx, app.Service{
		ID: servicePlain, Scope: scope, Name: "plain", Status: app.ServicePaused, Config: app.ServiceConfig{Network: app.NetworkConfig{EgressType: app.EgressDefault}},
	})
}

// putApp makes two instances of the service: the one that serves, and one of an older revision.
func (b *bench) putApp() {
	b.update(func(tx *store.Tx) {
		store.Control.NetworkInterfaces.Put(tx, app.NetworkInterface{
			ID: eniApp, Scope: scope, Kind: app.InterfaceOfInstance, VPC: vpcA, Subnet: connectorNet, Addresses: []netip.Addr{addr("192.168.1.77")},
			Groups: []app.GroupID{sgConnector}, SourceDestCheck: true, Owner: string(instanceApp),
		})
		putInstance(tx, app.Instance{ID: instanceApp, Service: serviceApp, Revision: 2, Goal: app.GoalRun, CreatedAt: began}, true, eniApp)
		putInstance(tx, app.Instance{ID: instanceOld, Service: serviceApp, Revision: 1, Goal: app.GoalDrain, CreatedAt: began.Add(time.Hour)}, true)
		store.Control.Instances.Put(tx, app.Instance{ID: idle, Service: serviceApp, Revision: 2, Goal: app.GoalRun, CreatedAt: began.Add(2 * time.Hour)})
	})
}

// fails checks an error's kind and words.
func fails(t *testing.T, err error, kind app.Kind, words ...string) {
	t.Helper()
	if err == nil || app.KindOf(err) != kind {
		t.Fatalf("got %v (%v); want %v", err, app.KindOf(err), kind)
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("%q does not say %q", err, w)
		}
	}
}
