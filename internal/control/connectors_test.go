package control

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/funade/funade/internal/app"
	"github.com/funade/funade/internal/store"
)

// network writes a VPC whose subnets are a and b (zones a and b) of the given blocks, and a group beside the default one.
func (b *bench) network(name string, blocks ...string) {
	b.t.Helper()
	vpc := app.VPCID("vpc-" + name)
	err := b.store.Update(ctx, func(tx *store.Tx) error {
		store.Control.VPCs.Put(tx, app.VPC{ID: vpc, Scope: scope, CIDR: netip.MustParsePrefix("10.0.0.0/16"), DNSSupport: true})
		for n, block := range blocks {
			zone := string(rune('a' + n))
			store.Control.Subnets.Put(tx, app.Subnet{
				ID: app.SubnetID("subnet-" + name + zone), Scope: scope, VPC: vpc, Zone: "us-east-1" + zone, CIDR: netip.MustParsePrefix(block),
			})
		}
		store.Control.SecurityGroups.Put(tx, app.SecurityGroup{ID: app.GroupID("sg-" + name + "0"), Scope: scope, VPC: vpc, Name: "default", Default: true})
		store.Control.SecurityGroups.Put(tx, app.SecurityGroup{ID: app.GroupID("sg-" + name + "1"), Scope: scope, VPC: vpc, Name: "apps"})
		store.Control.RouteTables.Put(tx, app.RouteTable{
			ID: app.RouteTableID("rtb-" + name), Scope: scope, VPC: vpc, Routes: []app.Route{{CIDR: netip.MustParsePrefix("10.0.0.0/16"), Kind: app.TargetLocal}},
			Associations: []app.TableAssociation{{ID: "rtbassoc-1", Main: true}},
		})
		return nil
	})
	if err != nil {
		b.t.Fatal(err)
	}
}

func (b *bench) connector(name string, subnets ...app.SubnetID) app.VPCConnector {
	b.t.Helper()
	c, err := b.CreateVPCConnector(ctx, scope, CreateVPCConnectorInput{Name: name, Subnets: subnets})
	if err != nil {
		b.t.Fatal(err)
	}
	return c
}

func through(arn string) *NetworkInput {
	return &NetworkInput{Egress: &EgressInput{Type: ptr("VPC"), VpcConnectorARN: &arn}}
}

// inside returns the network interfaces of instances, and fails when one has no instance or no tag, or two share an address.
func (b *bench) inside() (out []app.NetworkInterface) {
	b.t.Helper()
	seen := map[netip.Addr]bool{}
	_ = b.store.View(ctx, func(tx *store.Tx) error {
		for n := range store.NetworkInterfaces.All(tx) {
			if n.Kind != app.InterfaceOfInstance {
				continue
			}
			i, ok := store.Instances.Get(tx, app.InstanceID(n.Owner))
			link, _ := store.Interfaces.Get(tx, i.Interface)
			tags, _ := store.TagSets.Get(tx, app.Resource(n.ID))
			if !ok || !slices.Contains(link.VPC, n.ID) || tags.Tags["AWSAppRunnerManaged"] != "true" || seen[n.Addresses[0]] {
				b.t.Errorf("interface %+v: instance %v, link %+v, tags %v, address taken %v", n, ok, link, tags.Tags, seen[n.Addresses[0]])
			}
			seen[n.Addresses[0]] = true
			out = append(out, n)
		}
		return nil
	})
	return out
}

func TestConnectorsAreMadeListedAndDeleted(t *testing.T) {
	b := newBench(t)
	b.network("x", "10.0.1.0/24", "10.0.2.0/24")
	c, err := b.CreateVPCConnector(ctx, scope, CreateVPCConnectorInput{
		Name: "shop", Subnets: []app.SubnetID{"subnet-xa", "subnet-xb", "subnet-xa"}, Tags: app.Tags{"k": "v"},
	})
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(c.Subnets, []app.SubnetID{"subnet-xa", "subnet-xb"}) || !slices.Equal(c.Groups, []app.GroupID{"sg-x0"}) || c.VPC != "vpc-x" || c.Revision != 1 {
		t.Errorf("made %+v", c)
	}
	if want := scope.ARN("apprunner", "vpcconnector/shop/1/"+string(c.ID)); c.ARN() != want {
		t.Errorf("ARN %s, want %s", c.ARN(), want)
	}
	if tags, err := b.ListTagsForResource(ctx, scope, c.ARN()); err != nil || tags["k"] != "v" {
		t.Errorf("tags %v, %v", tags, err)
	}
	if err := b.TagResource(ctx, scope, c.ARN(), app.Tags{"more": "1"}); err != nil {
		t.Error(err)
	}
	_, err = b.CreateVPCConnector(ctx, scope, CreateVPCConnectorInput{Name: "shop", Subnets: c.Subnets})
	wants(t, err, app.KindInvalidRequest, "already exists: shop")
	_, err = b.DescribeVPCConnector(ctx, scope, scope.ARN("apprunner", "vpcconnector/shop/1"))
	wants(t, err, app.KindInvalidRequest, "not complete")
	_, err = b.DescribeVPCConnector(ctx, scope, scope.ARN("apprunner", "vpcconnector/shop/1/"+strings.Repeat("0", 32)))
	wants(t, err, app.KindNotFound, "does not exist")
	gone, err := b.DeleteVPCConnector(ctx, scope, c.ARN())
	if err != nil || gone.DeletedAt.IsZero() {
		t.Errorf("deleted %+v, %v", gone, err)
	}
	_, err = b.DeleteVPCConnector(ctx, scope, c.ARN())
	wants(t, err, app.KindInvalidRequest, "has been deleted")
	if page, err := b.ListVPCConnectors(ctx, scope, PageRequest{}); err != nil || len(page.Items) != 0 {
		t.Errorf("listed %v, %v", page.Items, err)
	}
	if d, err := b.DescribeVPCConnector(ctx, scope, c.ARN()); err != nil || d.DeletedAt.IsZero() {
		t.Errorf("described %+v, %v", d, err)
	}
	if again := b.connector("shop", "subnet-xb"); again.Revision != 1 || again.ID == c.ID {
		t.Errorf("the name again: %+v", again)
	}
	b.now = b.now.Add(2 * time.Hour)
	b.settle()
	_, err = b.DescribeVPCConnector(ctx, scope, c.ARN())
	wants(t, err, app.KindNotFound, "does not exist")
}

func TestConnectorsAreRefused(t *testing.T) {
	b := newBench(t)
	b.network("x", "10.0.1.0/24")
	b.network("y", "10.0.1.0/24")
	for text, in := range map[string]CreateVPCConnectorInput{
		"VpcConnectorName":                   {Name: "a/bc", Subnets: []app.SubnetID{"subnet-xa"}},
		"Subnets is empty":                   {Name: "shop"},
		`Subnets names "subnet-none"`:        {Name: "shop", Subnets: []app.SubnetID{"subnet-none"}},
		"subnet-xa is in vpc-x, subnet-ya":   {Name: "shop", Subnets: []app.SubnetID{"subnet-xa", "subnet-ya"}},
		`SecurityGroups names "sg-none"`:     {Name: "shop", Subnets: []app.SubnetID{"subnet-xa"}, Groups: []app.GroupID{"sg-none"}},
		"SecurityGroups names sg-y1, which":  {Name: "shop", Subnets: []app.SubnetID{"subnet-xa"}, Groups: []app.GroupID{"sg-y1"}},
		"only services have tags with the p": {Name: "shop", Subnets: []app.SubnetID{"subnet-xa"}, Tags: app.Tags{"funade:x": "1"}},
	} {
		_, err := b.CreateVPCConnector(ctx, scope, in)
		wants(t, err, app.KindInvalidRequest, text)
	}
	for n := range 10 {
		b.connector(fmt.Sprintf("shop-%d", n), "subnet-xa")
	}
	_, err := b.CreateVPCConnector(ctx, scope, CreateVPCConnectorInput{Name: "shop", Subnets: []app.SubnetID{"subnet-xa"}})
	wants(t, err, app.KindQuota, "You have 10 VPC connectors")
	page, err := b.ListVPCConnectors(ctx, scope, PageRequest{MaxResults: 4})
	if err != nil || len(page.Items) != 4 || page.NextToken == "" {
		t.Errorf("a page of 4 is %d items, token %q, %v", len(page.Items), page.NextToken, err)
	}
}

func TestServiceGoesOutThroughItsConnector(t *testing.T) {
	b := newBench(t)
	b.network("x", "10.0.1.0/24", "10.0.2.0/24")
	c := b.connector("shop", "subnet-xa", "subnet-xb")
	if _, err := b.CreateAutoScalingConfiguration(ctx, scope, CreateAutoScalingInput{Name: "four", MinSize: ptr(4)}); err != nil {
		t.Fatal(err)
	}
	d := b.create("hello", func(in *CreateServiceInput) {
		in.Network = through(scope.ARN("apprunner", "vpcconnector/shop"))
		in.ScalingARN = ptr(scope.ARN("apprunner", "autoscalingconfiguration/four"))
	})
	if got := d.Service.Config.Network; got.VpcConnectorARN != c.ARN() || got.EgressType != "VPC" {
		t.Errorf("stored %+v", got)
	}
	arn := d.Service.ARN()
	b.settle()
	count := map[app.SubnetID]int{}
	for _, n := range b.inside() {
		count[n.Subnet]++
		if !slices.Equal(n.Groups, c.Groups) || n.Attachment.ID == "" {
			t.Errorf("interface %+v", n)
		}
	}
	if count["subnet-xa"] != 2 || count["subnet-xb"] != 2 {
		t.Errorf("4 instances are spread %v", count)
	}
	if said := strings.Join(b.events(d.Service.ID), "\n"); !strings.Contains(said, "The VPC connector shop has no route to the internet: subnet-xa (10.0.1.0/24) has no route to a NAT gateway; subnet-xb") {
		t.Errorf("the events are\n%s", said)
	}
	_, err := b.DeleteVPCConnector(ctx, scope, c.ARN())
	wants(t, err, app.KindInvalidRequest, "Provided VPC connector arn is being used by other services. ARN:  "+c.ARN())

	// An update that says nothing of the network keeps the connector; DEFAULT drops it, once nothing needs it any more.
	if _, _, err := b.UpdateService(ctx, scope, arn, UpdateServiceInput{Network: &NetworkInput{IPAddressType: ptr("DUAL_STACK")}}); err != nil {
		t.Fatal(err)
	}
	b.settle()
	if got := b.describe(arn).Config.Network; got.VpcConnectorARN != c.ARN() || len(b.inside()) != 4 {
		t.Errorf("after an update: %+v, %d interfaces", got, len(b.inside()))
	}
	if said := strings.Join(b.events(d.Service.ID), "\n"); !strings.Contains(said, "stays IPv4") {
		t.Errorf("the events are\n%s", said)
	}
	if _, _, err := b.UpdateService(ctx, scope, arn, UpdateServiceInput{Network: &NetworkInput{Egress: &EgressInput{Type: ptr("DEFAULT")}}}); err != nil {
		t.Fatal(err)
	}
	_, err = b.DeleteVPCConnector(ctx, scope, c.ARN())
	wants(t, err, app.KindInvalidRequest, "is being used") // the revision that serves has it
	b.settle()
	if got := b.describe(arn).Config.Network; got.VpcConnectorARN != "" || len(b.inside()) != 0 {
		t.Errorf("with DEFAULT: %+v, %d interfaces", got, len(b.inside()))
	}
	if _, err := b.DeleteVPCConnector(ctx, scope, c.ARN()); err != nil {
		t.Error(err)
	}
	_, _, err = b.UpdateService(ctx, scope, arn, UpdateServiceInput{Network: through(c.ARN())})
	wants(t, err, app.KindInvalidRequest, "has been deleted")
	_, err = b.RollbackService(ctx, scope, arn, 2)
	wants(t, err, app.KindInvalidRequest, "Revision 2 uses the VPC connector "+c.ARN())
}

// DUAL_STACK is accepted with either egress, shown again, and said once for each revision that has it.
func TestDualStackIsAcceptedShownAndSaid(t *testing.T) {
	const said = "IpAddressType is DUAL_STACK: the front door answers over IPv6 too; what the application sends stays IPv4."
	b := newBench(t)
	b.network("x", "10.0.1.0/24")
	c := b.connector("shop", "subnet-xa")
	for name, egress := range map[string]*EgressInput{"direct": nil, "connected": through(c.ARN()).Egress} {
		d := b.create(name, func(in *CreateServiceInput) {
			in.Network = &NetworkInput{Egress: egress, IPAddressType: ptr("DUAL_STACK")}
		})
		b.settle()
		count := func() (n int) {
			for _, e := range b.events(d.Service.ID) {
				if e == said {
					n++
				}
			}
			return n
		}
		svc := b.describe(d.Service.ARN())
		if svc.Status != app.ServiceRunning || svc.Config.Network.IPAddressType != app.DualStack || count() != 1 {
			t.Errorf("%s is %s with %+v; its events are %q", name, svc.Status, svc.Config.Network, b.events(d.Service.ID))
		}
		if _, _, err := b.UpdateService(ctx, scope, d.Service.ARN(), UpdateServiceInput{Network: &NetworkInput{IPAddressType: ptr("IPV4")}}); err != nil {
			t.Fatal(err)
		}
		b.settle()
		if svc := b.describe(d.Service.ARN()); svc.Config.Network.IPAddressType != app.DefaultIPAddressType || count() != 1 {
			t.Errorf("%s with IPV4 again has %+v; its events are %q", name, svc.Config.Network, b.events(d.Service.ID))
		}
	}
}

func TestPausedAndDeletedServicesHaveNoInterfaces(t *testing.T) {
	b := newBench(t)
	b.network("x", "10.0.1.0/24")
	c := b.connector("shop", "subnet-xa")
	arn := b.createARN("hello", func(in *CreateServiceInput) { in.Network = through(c.ARN()) })
	b.settle()
	if len(b.inside()) != 1 {
		t.Fatalf("a running service has %v", b.inside())
	}
	if _, _, err := b.PauseService(ctx, scope, arn); err != nil {
		t.Fatal(err)
	}
	b.settle()
	if len(b.inside()) != 0 {
		t.Errorf("a paused service has %v", b.inside())
	}
	_, err := b.DeleteVPCConnector(ctx, scope, c.ARN())
	wants(t, err, app.KindInvalidRequest, "is being used")
	if _, _, err := b.ResumeService(ctx, scope, arn); err != nil {
		t.Fatal(err)
	}
	b.settle()
	if len(b.inside()) != 1 {
		t.Errorf("a resumed service has %v", b.inside())
	}
	if _, _, err := b.DeleteService(ctx, scope, arn); err != nil {
		t.Fatal(err)
	}
	b.settle()
	if len(b.inside()) != 0 {
		t.Errorf("a deleted service has %v", b.inside())
	}
	if _, err := b.DeleteVPCConnector(ctx, scope, c.ARN()); err != nil {
		t.Error(err)
	}
}

// full leaves services n addresses of subnet-xa, those that they have among them; somebody else takes the rest.
func (b *bench) full(n int) {
	b.t.Helper()
	err := b.store.Update(ctx, func(tx *store.Tx) error {
		other := app.NetworkInterface{ID: "eni-00000000000000bad", Scope: scope, VPC: "vpc-x", Subnet: "subnet-xa", Zone: "us-east-1a"}
		ours := map[netip.Addr]bool{}
		for i := range store.NetworkInterfaces.All(tx) {
			if i.Kind == app.InterfaceOfInstance {
				ours[i.Addresses[0]] = true
			}
		}
		for k := byte(4); k < 15 && len(other.Addresses) < 11-n; k++ {
			if a := netip.AddrFrom4([4]byte{10, 0, 1, k}); !ours[a] {
				other.Addresses = append(other.Addresses, a)
			}
		}
		store.Control.NetworkInterfaces.Put(tx, other)
		return nil
	})
	if err != nil {
		b.t.Fatal(err)
	}
}

func TestFullSubnetIsWaitedForAndToldOf(t *testing.T) {
	b := newBench(t)
	b.network("x", "10.0.1.0/28")
	c := b.connector("shop", "subnet-xa")
	b.full(0)
	d := b.create("hello", func(in *CreateServiceInput) { in.Network = through(c.ARN()) })
	b.settle()
	if got := b.describe(d.Service.ARN()); got.Status != app.ServiceInProgress {
		t.Fatalf("with no address free the service is %s", got.Status)
	}
	const told = "An instance has to wait for its network. VPC connector shop: no address is free in subnet-xa (10.0.1.0/28). Delete network interfaces there"
	said := strings.Join(b.events(d.Service.ID), "\n")
	if strings.Count(said, told) != 1 {
		t.Errorf("the events are\n%s", said)
	}
	b.full(1)
	b.settle()
	if got := b.describe(d.Service.ARN()); got.Status != app.ServiceRunning || len(b.inside()) != 1 {
		t.Errorf("with one address free the service is %s with %v", got.Status, b.inside())
	}
	// An update needs one address more until the old instance has gone: it waits, and then goes back.
	if _, _, err := b.UpdateService(ctx, scope, d.Service.ARN(), UpdateServiceInput{}); err != nil {
		t.Fatal(err)
	}
	for range 15 {
		b.settle()
	}
	if got := b.operations(d.Service.ARN()); got[0] != "UPDATE_SERVICE ROLLBACK_SUCCEEDED" || len(b.inside()) != 1 {
		t.Errorf("operations %v, interfaces %v", got, b.inside())
	}
	if said := strings.Join(b.events(d.Service.ID), "\n"); !strings.Contains(said, "Failure reason : The instances cannot be provisioned. VPC connector shop: no address is free") {
		t.Errorf("the events are\n%s", said)
	}
}

func TestConnectorWhoseRowsAreGoneFailsAtOnce(t *testing.T) {
	for text, remove := range map[string]func(tx *store.Tx){
		"none of its subnets exists any more (subnet-xa)": func(tx *store.Tx) { store.Control.Subnets.Delete(tx, "subnet-xa") },
		"the security group sg-x0 no longer exists":       func(tx *store.Tx) { store.Control.SecurityGroups.Delete(tx, "sg-x0") },
	} {
		b := newBench(t)
		b.network("x", "10.0.1.0/24")
		c := b.connector("shop", "subnet-xa")
		if err := b.store.Update(ctx, func(tx *store.Tx) error { remove(tx); return nil }); err != nil {
			t.Fatal(err)
		}
		d := b.create("hello", func(in *CreateServiceInput) { in.Network = through(c.ARN()) })
		b.settle()
		said := strings.Join(b.events(d.Service.ID), "\n")
		if got := b.describe(d.Service.ARN()); got.Status != app.ServiceCreateFailed || !strings.Contains(said, text) {
			t.Errorf("the service is %s, the events are\n%s", got.Status, said)
		}
	}
}

func TestKeeperTellsOnceOfMissingAddresses(t *testing.T) {
	b := newBench(t)
	b.network("x", "10.0.1.0/28")
	c := b.connector("shop", "subnet-xa")
	d := b.create("hello", func(in *CreateServiceInput) { in.Network = through(c.ARN()) })
	b.settle()
	b.full(1) // the instance has the last one
	keeper := b.Keeper()
	err := b.store.Update(ctx, func(tx *store.Tx) error {
		for i := range store.Instances.All(tx) {
			store.Observed.InstanceStatuses.Put(tx, app.InstanceStatus{ID: i.ID, Phase: app.PhaseFailed, Reason: "broken"})
			store.Observed.InstanceHealths.Put(tx, app.InstanceHealth{ID: i.ID})
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	b.now = b.now.Add(time.Minute)
	for range 5 {
		if _, err := keeper.Pass(ctx); err != nil {
			t.Fatal(err)
		}
	}
	if said := strings.Join(b.events(d.Service.ID), "\n"); strings.Count(said, "An instance is missing. VPC connector shop: no address is free") != 1 {
		t.Errorf("the events are\n%s", said)
	}
	for range 2 {
		b.observe()
		if _, err := keeper.Pass(ctx); err != nil {
			t.Fatal(err)
		}
	}
	if got := b.inside(); len(got) != 1 {
		t.Errorf("once the old instance has gone: %v", got)
	}
}
