package crash

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/apprunner"
	"github.com/aws/aws-sdk-go-v2/service/apprunner/types"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/smithy-go"
)

// Addresses in the network of these tests. Hosts that come and go have those from firstHost on.
const (
	networkBlock = "10.0.0.0/16"
	steadyHost   = "10.0.1.10"
	barredHost   = "10.0.1.11"
	firstHost    = 20
	appPort      = 8080
)

// TestKillsOfPrivateNetworks kills the server again and again while services with a connector, private hosts and rules
// come and go. A service that nobody touches reaches its private host whenever it can be asked.
func TestKillsOfPrivateNetworks(t *testing.T) {
	t.Parallel()
	seed := number(t, "FUNADE_CRASH_SEED", uint64(time.Now().UnixNano()))
	kills := number(t, "FUNADE_CRASH_KILLS", 24) / 2
	t.Logf("FUNADE_CRASH_SEED=%d repeats the moments", seed)
	rng := rand.New(rand.NewPCG(seed, 1))
	n := newNetwork(newWorld(t, t.TempDir()))
	steady := n.service("steady")
	url := aws.ToString(steady.ServiceUrl)
	for _, a := range []string{steadyHost, barredHost} {
		_, err := n.host(a)
		check(t, err)
	}
	n.reaches(url, steadyHost, true)

	up := new(phase)
	calls := n.callHost(up, url)
	churn := &churn{network: n, up: up, rng: rand.New(rand.NewPCG(seed, 2)), loop: loop{quit: make(chan struct{})}}
	churn.run(40*time.Millisecond, churn.step)
	services := &work{loop: loop{quit: make(chan struct{})}}
	services.workers = []*worker{{w: n.world, up: up, name: "worker", rng: rand.New(rand.NewPCG(seed, 3)), network: n.egress()}}
	services.run(50*time.Millisecond, services.workers[0].step)
	up.begin()
	for range kills {
		<-time.After(100*time.Millisecond + time.Duration(rng.Int64N(int64(1400*time.Millisecond))))
		up.end()
		check(t, n.server.Kill())
		check(t, n.server.Start(t.Context()))
		up.begin()
	}
	churn.stop()
	acknowledged := services.stop()
	if good := calls.stop(); good == 0 {
		t.Error("no call was answered, so nothing is shown")
	}
	t.Logf("%d calls of the private host were answered, %d changes of hosts and rules acknowledged", calls.good, churn.acknowledged)
	if churn.acknowledged < 5 {
		t.Error("little was acknowledged, so little is shown")
	}
	n.settled(acknowledged, 2)
	n.hostsSettle(url, churn.terminated)
	n.reaches(url, barredHost, churn.open)
	n.eventually(30*time.Second, "nothing is left that no row claims", n.unclaimed)
	n.empty()
}

// network is a VPC with a subnet, a connector whose group is apps, and groups of hosts: db lets apps in, barred at times.
type network struct {
	*world
	subnet, apps, db, barred, connector string
}

func newNetwork(w *world) *network {
	w.t.Helper()
	n := &network{world: w}
	api := w.api.EC2
	vpc, err := api.CreateVpc(w.ctx, &ec2.CreateVpcInput{CidrBlock: aws.String(networkBlock)})
	check(w.t, err)
	subnet, err := api.CreateSubnet(w.ctx, &ec2.CreateSubnetInput{VpcId: vpc.Vpc.VpcId, CidrBlock: aws.String("10.0.1.0/24")})
	check(w.t, err)
	n.subnet = aws.ToString(subnet.Subnet.SubnetId)
	for name, id := range map[string]*string{"apps": &n.apps, "db": &n.db, "barred": &n.barred} {
		group, err := api.CreateSecurityGroup(w.ctx, &ec2.CreateSecurityGroupInput{VpcId: vpc.Vpc.VpcId, GroupName: &name, Description: &name})
		check(w.t, err)
		*id = aws.ToString(group.GroupId)
	}
	_, err = api.AuthorizeSecurityGroupIngress(w.ctx, &ec2.AuthorizeSecurityGroupIngressInput{GroupId: &n.db, IpPermissions: n.fromApps()})
	check(w.t, err)
	connector, err := w.api.AppRunner.CreateVpcConnector(w.ctx, &apprunner.CreateVpcConnectorInput{
		VpcConnectorName: aws.String("apps"), Subnets: []string{n.subnet}, SecurityGroups: []string{n.apps},
	})
	check(w.t, err)
	n.connector = aws.ToString(connector.VpcConnector.VpcConnectorArn)
	return n
}

// fromApps lets members of apps call the app's port.
func (n *network) fromApps() []ec2types.IpPermission {
	return []ec2types.IpPermission{{
		IpProtocol: aws.String("tcp"), FromPort: aws.Int32(appPort), ToPort: aws.Int32(appPort), UserIdGroupPairs: []ec2types.UserIdGroupPair{{GroupId: &n.apps}},
	}}
}

func (n *network) egress() *types.NetworkConfiguration {
	return &types.NetworkConfiguration{EgressConfiguration: &types.EgressConfiguration{EgressType: types.EgressTypeVpc, VpcConnectorArn: &n.connector}}
}

func (n *network) service(name string) *types.Service {
	n.t.Helper()
	out, err := n.api.AppRunner.CreateService(n.ctx, &apprunner.CreateServiceInput{ServiceName: &name, SourceConfiguration: n.source(), NetworkConfiguration: n.egress()})
	check(n.t, err)
	return n.answers(aws.ToString(out.Service.ServiceArn), 60*time.Second)
}

// host starts a private host with an address, and returns its id.
func (n *network) host(address string) (id string, err error) {
	group := n.db
	if address == barredHost {
		group = n.barred
	}
	out, err := n.api.EC2.RunInstances(n.ctx, &ec2.RunInstancesInput{
		ImageId: &n.image, SubnetId: &n.subnet, PrivateIpAddress: &address, SecurityGroupIds: []string{group}, MinCount: aws.Int32(1), MaxCount: aws.Int32(1),
	})
	if err != nil {
		return "", err
	}
	return aws.ToString(out.Instances[0].InstanceId), nil
}

// dial asks a service to call the app of a private host; it answers what it met.
func (n *network) dial(url, address string) (string, error) {
	status, _, body, err := n.server.Get(n.ctx, fmt.Sprintf("%s/dial?to=%s:%d", url, address, appPort))
	if err == nil && status != 200 {
		err = fmt.Errorf("status %d: %s", status, body)
	}
	return body, err
}

// reaches waits until the service reaches a host, or no longer.
func (n *network) reaches(url, address string, want bool) {
	n.t.Helper()
	n.eventually(60*time.Second, fmt.Sprintf("the service reaches %s: %v", address, want), func() error {
		said, err := n.dial(url, address)
		if err == nil && strings.HasPrefix(said, "connected") != want {
			err = fmt.Errorf("it says %q", said)
		}
		return err
	})
}

// callHost lets the untouched service call its private host all the time.
func (n *network) callHost(up *phase, url string) *calls {
	client, err := n.server.Client()
	check(n.t, err)
	c := &calls{loop: loop{quit: make(chan struct{})}}
	c.run(20*time.Millisecond, func() {
		before, ok := up.now()
		if !ok {
			return
		}
		said := ""
		resp, err := client.Get(n.server.URL(fmt.Sprintf("%s/dial?to=%s:%d", url, steadyHost, appPort)))
		if err == nil {
			var data []byte
			data, err = io.ReadAll(resp.Body)
			resp.Body.Close()
			if said = string(data); err == nil && resp.StatusCode != http.StatusOK {
				err = fmt.Errorf("status %d: %s", resp.StatusCode, said)
			}
		}
		switch {
		case err == nil && strings.HasPrefix(said, "connected"):
			c.good++
		case err == nil:
			n.t.Errorf("the untouched private host was not reached: %q", said)
		default:
			if after, _ := up.now(); after == before {
				n.t.Errorf("a call failed while the server was up: %v", err)
			}
		}
	})
	return c
}

// hosts returns the private hosts that are not terminated, with their addresses, and the states of all.
func (n *network) hosts() (alive map[string]string, states map[string]ec2types.InstanceStateName, err error) {
	again := func(o *ec2.Options) { o.RetryMaxAttempts = 3 } // see harness.API.Plain
	out, err := n.api.EC2.DescribeInstances(n.ctx, &ec2.DescribeInstancesInput{}, again)
	if err != nil {
		return nil, nil, err
	}
	alive, states = map[string]string{}, map[string]ec2types.InstanceStateName{}
	for _, r := range out.Reservations {
		for _, i := range r.Instances {
			id := aws.ToString(i.InstanceId)
			if states[id] = i.State.Name; i.State.Name != ec2types.InstanceStateNameTerminated {
				alive[id] = aws.ToString(i.PrivateIpAddress)
			}
		}
	}
	return alive, states, nil
}

// hostsSettle waits until every host runs or is terminated, those that were terminated are, and all others are reached.
func (n *network) hostsSettle(url string, terminated []string) {
	n.t.Helper()
	var alive map[string]string
	n.eventually(60*time.Second, "hosts run or are terminated", func() error {
		var states map[string]ec2types.InstanceStateName
		var err error
		if alive, states, err = n.hosts(); err != nil {
			return err
		}
		for _, id := range terminated {
			if s, ok := states[id]; ok && s != ec2types.InstanceStateNameTerminated {
				return fmt.Errorf("%s, whose end was acknowledged, is %s", id, s)
			}
		}
		for id := range alive {
			if states[id] != ec2types.InstanceStateNameRunning {
				return fmt.Errorf("%s is %s", id, states[id])
			}
		}
		return nil
	})
	for _, address := range alive {
		if address != barredHost {
			n.reaches(url, address, true)
		}
	}
}

// churn runs and terminates hosts and opens and closes the barred one. Only what is acknowledged counts.
type churn struct {
	loop
	*network
	up           *phase
	rng          *rand.Rand
	acknowledged int
	open         bool
	terminated   []string
}

func (c *churn) step() {
	before, ok := c.up.now()
	if !ok {
		return
	}
	if err := c.next(); err != nil {
		if after, _ := c.up.now(); after == before {
			c.t.Errorf("a change of the network: %v", err)
		}
		return
	}
	c.acknowledged++
}

func (c *churn) next() error {
	if c.rng.IntN(2) == 0 {
		return c.toggle()
	}
	alive, _, err := c.hosts()
	if err != nil {
		return err
	}
	taken := map[string]string{}
	for id, address := range alive {
		taken[address] = id
	}
	address := fmt.Sprintf("10.0.1.%d", firstHost+c.rng.IntN(3))
	id, ok := taken[address]
	if !ok {
		_, err = c.host(address)
		return err
	}
	_, err = c.api.EC2.TerminateInstances(c.ctx, &ec2.TerminateInstancesInput{InstanceIds: []string{id}})
	if err == nil {
		c.terminated = append(c.terminated, id)
	}
	return err
}

// toggle opens or closes the barred host; the answer to one that was lost says which it is now.
func (c *churn) toggle() (err error) {
	want := !c.open
	if want {
		_, err = c.api.EC2.AuthorizeSecurityGroupIngress(c.ctx, &ec2.AuthorizeSecurityGroupIngressInput{GroupId: &c.barred, IpPermissions: c.fromApps()})
	} else {
		_, err = c.api.EC2.RevokeSecurityGroupIngress(c.ctx, &ec2.RevokeSecurityGroupIngressInput{GroupId: &c.barred, IpPermissions: c.fromApps()})
	}
	var is smithy.APIError
	if errors.As(err, &is) && strings.HasPrefix(is.ErrorCode(), "InvalidPermission.") { // it is so already
		err = nil
	}
	if err == nil {
		c.open = want
	}
	return err
}

// unclaimed compares namespaces and links with the instances and hosts that there are.
func (n *network) unclaimed() error {
	alive, _, err := n.hosts()
	if err != nil {
		return err
	}
	services, err := n.services()
	if err != nil {
		return err
	}
	count := len(alive)
	for _, s := range services {
		ids, err := n.instances(aws.ToString(s.ServiceArn))
		if err != nil {
			return err
		}
		count += len(ids)
	}
	var interfaces []string
	routed := 0
	for _, pin := range names(filepath.Join(n.runDir(), "netns")) {
		switch {
		case strings.HasPrefix(pin, "eni-"):
			interfaces = append(interfaces, pin)
		case strings.HasPrefix(pin, "vpc-"):
			routed += len(n.linksIn(pin))
		}
	}
	var faults []string
	if links := n.links(); len(interfaces) != count || len(links) != count || routed != count {
		faults = append(faults, fmt.Sprintf("%d instances and hosts have the namespaces %v, the links %v and %d interfaces in VPCs", count, interfaces, links, routed))
	}
	if users := names(filepath.Join(n.runDir(), "userns")); len(users) != 0 && len(users) != count {
		faults = append(faults, fmt.Sprintf("%d instances and hosts have the user namespaces %v", count, users))
	}
	return list(faults)
}

// empty removes everything and looks that nothing is left.
func (n *network) empty() {
	n.t.Helper()
	services, err := n.services()
	check(n.t, err)
	for _, s := range services {
		n.remove(aws.ToString(s.ServiceArn))
	}
	alive, _, err := n.hosts()
	check(n.t, err)
	for id := range alive {
		_, err := n.api.EC2.TerminateInstances(n.ctx, &ec2.TerminateInstancesInput{InstanceIds: []string{id}})
		check(n.t, err)
	}
	n.eventually(60*time.Second, "all hosts are terminated", func() error {
		alive, _, err := n.hosts()
		if err == nil && len(alive) > 0 {
			err = fmt.Errorf("alive are %v", alive)
		}
		return err
	})
	n.eventually(30*time.Second, "nothing is left of deleted services and hosts", n.unclaimed)
	interfaces, err := n.api.EC2.DescribeNetworkInterfaces(n.ctx, &ec2.DescribeNetworkInterfacesInput{
		Filters: []ec2types.Filter{{Name: aws.String("subnet-id"), Values: []string{n.subnet}}},
	})
	check(n.t, err)
	if left := len(interfaces.NetworkInterfaces); left > 0 {
		n.t.Errorf("%d network interfaces are left", left)
	}
}
