package bench

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/apprunner"
	"github.com/aws/aws-sdk-go-v2/service/apprunner/types"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// cloud is a server with a VPC.
type cloud struct {
	*subject
	ec2         *ec2.Client
	vpc, subnet string
}

func newCloud(t *testing.T) *cloud {
	t.Helper()
	s := newSubject(t)
	s.push()
	options := s.api.AppRunner.Options() // which tries once; the SDK loses a large answer now and then (harness.API)
	c := &cloud{subject: s, ec2: ec2.New(ec2.Options{
		Region: options.Region, BaseEndpoint: options.BaseEndpoint, HTTPClient: options.HTTPClient, Credentials: options.Credentials,
	})}
	v, err := c.ec2.CreateVpc(s.ctx, &ec2.CreateVpcInput{CidrBlock: aws.String("10.66.0.0/16")})
	check(t, err)
	c.vpc = aws.ToString(v.Vpc.VpcId)
	n, err := c.ec2.CreateSubnet(s.ctx, &ec2.CreateSubnetInput{VpcId: &c.vpc, CidrBlock: aws.String("10.66.0.0/16")})
	check(t, err)
	c.subnet = aws.ToString(n.Subnet.SubnetId)
	return c
}

// group makes a security group with a number of inbound rules.
func (c *cloud) group(name string, rules int) string {
	c.t.Helper()
	g, err := c.ec2.CreateSecurityGroup(c.ctx, &ec2.CreateSecurityGroupInput{GroupName: &name, Description: &name, VpcId: &c.vpc})
	check(c.t, err)
	var list []ec2types.IpPermission
	for n := range rules {
		list = append(list, permission("tcp", rulePort(n), ruleBlock(n)))
	}
	if rules > 0 {
		_, err = c.ec2.AuthorizeSecurityGroupIngress(c.ctx, &ec2.AuthorizeSecurityGroupIngressInput{GroupId: g.GroupId, IpPermissions: list})
		check(c.t, err)
	}
	return aws.ToString(g.GroupId)
}

func permission(protocol string, port int, block netip.Prefix) ec2types.IpPermission {
	return ec2types.IpPermission{IpProtocol: &protocol, FromPort: aws.Int32(int32(port)), ToPort: aws.Int32(int32(port)),
		IpRanges: []ec2types.IpRange{{CidrIp: aws.String(block.String())}}}
}

// hosts starts private hosts, one in each group, and returns their private addresses.
func (c *cloud) hosts(groups ...string) []netip.Addr {
	c.t.Helper()
	var ids []string
	for _, g := range groups {
		out, err := c.ec2.RunInstances(c.ctx, &ec2.RunInstancesInput{ImageId: &c.image, SubnetId: &c.subnet, SecurityGroupIds: []string{g}, MinCount: aws.Int32(1), MaxCount: aws.Int32(1)})
		check(c.t, err)
		ids = append(ids, aws.ToString(out.Instances[0].InstanceId))
	}
	found := map[string]netip.Addr{}
	c.eventually(time.Minute, "hosts run", func() bool {
		out, err := c.ec2.DescribeInstances(c.ctx, &ec2.DescribeInstancesInput{InstanceIds: ids})
		check(c.t, err)
		running := 0
		for _, r := range out.Reservations {
			for _, i := range r.Instances {
				found[aws.ToString(i.InstanceId)] = netip.MustParseAddr(aws.ToString(i.PrivateIpAddress))
				if i.State.Name == ec2types.InstanceStateNameRunning {
					running++
				}
			}
		}
		return running == len(ids)
	})
	var out []netip.Addr
	for _, id := range ids {
		out = append(out, found[id])
	}
	return out
}

// pin opens a namespace that the server pinned.
func (c *cloud) pin(name string) *os.File {
	c.t.Helper()
	info, err := c.Info()
	check(c.t, err)
	ns, err := os.Open(filepath.Join("/run/funade", info.InstallID, "netns", name))
	check(c.t, err)
	c.t.Cleanup(func() { ns.Close() })
	return ns
}

// namespaceOf finds the instance that has an address.
func (c *cloud) namespaceOf(a netip.Addr) *os.File {
	c.t.Helper()
	info, err := c.Info()
	check(c.t, err)
	pins, err := filepath.Glob(filepath.Join("/run/funade", info.InstallID, "netns", "eni-*"))
	check(c.t, err)
	for _, path := range pins {
		ns := c.pin(filepath.Base(path))
		has := false
		check(c.t, inside(ns, func() error {
			h, err := netlink.NewHandle(unix.NETLINK_ROUTE)
			if err != nil {
				return err
			}
			defer h.Close()
			list, err := h.AddrList(nil, netlink.FAMILY_V4)
			for _, k := range list {
				has = has || k.IP.Equal(a.AsSlice())
			}
			return err
		}))
		if has {
			return ns
		}
	}
	c.t.Fatalf("none of %v has the address %v", pins, a)
	return nil
}

// latencies are how long changes took until they were in force, the calls alone, and a sync of a small file beside each.
type latencies struct{ enforced, call, sync []time.Duration }

// timed makes a change in the background and looks for its effect.
func (c *cloud) timed(l *latencies, change func() error, enforced func() time.Time) {
	c.t.Helper()
	l.sync = append(l.sync, syncOne(c.t, filepath.Join(c.Data, "bench-sync")))
	done := make(chan error, 1)
	began := time.Now()
	var took time.Duration
	go func() {
		err := change()
		took = time.Since(began)
		done <- err
	}()
	l.enforced = append(l.enforced, enforced().Sub(began))
	check(c.t, <-done)
	l.call = append(l.call, took)
}

// syncOne returns how long writing and syncing a small file takes.
func syncOne(t *testing.T, path string) time.Duration {
	t.Helper()
	began := time.Now()
	f, err := os.Create(path)
	check(t, err)
	_, err = f.Write(make([]byte, 4096))
	check(t, err)
	check(t, f.Sync())
	took := time.Since(began)
	check(t, f.Close())
	check(t, os.Remove(path))
	return took
}

func (l *latencies) report(r *report, what string) {
	peer := fmt.Sprintf("median %.1f ms; the call alone %.1f ms, p99 %.1f ms; a sync's p99 %.1f ms", milliseconds(median(l.enforced)),
		milliseconds(median(l.call)), milliseconds(p99(l.call)), milliseconds(p99(l.sync)))
	r.add(fmt.Sprintf("%s, p99 of %d", what, len(l.enforced)), "%.1f ms", milliseconds(p99(l.enforced)), peer, 50+milliseconds(p99(l.sync)))
}

const (
	rulesPerGroup = 59 // one below the quota
	ruleGroups    = 17 // that makes 1,000 rules
)

// changes measures from a call until the kernel acts by it, at 1,000 interfaces and 1,000 rules.
func changes(t *testing.T, r *report) {
	c := newCloud(t)
	clients, servers := c.group("clients", 0), c.group("servers", rulesPerGroup)
	groups := []string{servers}
	for n := range ruleGroups - 1 {
		groups = append(groups, c.group(fmt.Sprintf("group-%d", n), rulesPerGroup))
	}
	addresses := c.hosts(clients, servers)
	began := time.Now()
	for n := range manyInterfaces - 2 {
		c.addInterface(groups[n%len(groups)])
	}
	t.Logf("%d interfaces made in %v", manyInterfaces-2, time.Since(began))
	c.settle()
	p := newProbe(t, pair{c.namespaceOf(addresses[0]), c.namespaceOf(addresses[1]), addresses[1]})
	defer p.close()
	var add, remove, more latencies
	rule := []ec2types.IpPermission{permission("udp", probePort, netip.PrefixFrom(addresses[0], 32))}
	p.closes()
	for range changeSamples {
		c.timed(&add, func() error {
			_, err := c.ec2.AuthorizeSecurityGroupIngress(c.ctx, &ec2.AuthorizeSecurityGroupIngressInput{GroupId: &servers, IpPermissions: rule})
			return err
		}, p.opens)
		c.timed(&remove, func() error {
			_, err := c.ec2.RevokeSecurityGroupIngress(c.ctx, &ec2.RevokeSecurityGroupIngressInput{GroupId: &servers, IpPermissions: rule})
			return err
		}, p.closes)
	}
	router := c.pin(c.vpc)
	for range changeSamples {
		var id string
		made := make(chan string, 1)
		c.timed(&more, func() error {
			id = c.addInterface(servers)
			made <- id
			return nil
		}, func() time.Time { return c.programmed(router, <-made, true) })
		_, err := c.ec2.DeleteNetworkInterface(c.ctx, &ec2.DeleteNetworkInterfaceInput{NetworkInterfaceId: &id})
		check(t, err)
		c.programmed(router, id, false)
	}
	at := " at 1,000 interfaces and 1,000 rules, from the call to the "
	add.report(r, "rule added"+at+"first packet")
	remove.report(r, "rule removed"+at+"first packet refused")
	more.report(r, "interface added"+at+"kernel's set")
}

func (c *cloud) addInterface(group string) string {
	c.t.Helper()
	out, err := c.ec2.CreateNetworkInterface(c.ctx, &ec2.CreateNetworkInterfaceInput{SubnetId: &c.subnet, Groups: []string{group}})
	if err != nil {
		c.t.Error(err)
		return ""
	}
	return aws.ToString(out.NetworkInterface.NetworkInterfaceId)
}

// programmed waits until a router's kernel knows which groups an interface has, or no longer, and returns when that was.
func (c *cloud) programmed(router *os.File, id string, want bool) time.Time {
	c.t.Helper()
	key := make([]byte, unix.IFNAMSIZ)
	copy(key, "v"+strings.TrimPrefix(id, "eni-")[3:])
	var at time.Time
	tick := time.NewTicker(500 * time.Microsecond)
	defer tick.Stop()
	check(c.t, inside(router, func() error {
		for deadline := time.Now().Add(probePatience); ; <-tick.C {
			err := findElement("egress", key)
			at = time.Now()
			switch {
			case (err == nil) == want && (err == nil || errors.Is(err, unix.ENOENT)):
				return nil
			case err != nil && !errors.Is(err, unix.ENOENT):
				return err
			case at.After(deadline):
				return fmt.Errorf("after %v the kernel's answer about %s is still: %v", probePatience, id, err)
			}
		}
	}))
	return at
}

// findElement asks the kernel for one element of a set of the data plane's table.
func findElement(set string, key []byte) error {
	req := nl.NewNetlinkRequest(unix.NFNL_SUBSYS_NFTABLES<<8|unix.NFT_MSG_GETSETELEM, 0)
	req.AddData(&nl.Nfgenmsg{NfgenFamily: unix.AF_INET})
	req.AddData(nl.NewRtAttr(unix.NFTA_SET_ELEM_LIST_TABLE, nl.ZeroTerminated("funade")))
	req.AddData(nl.NewRtAttr(unix.NFTA_SET_ELEM_LIST_SET, nl.ZeroTerminated(set)))
	const nested = unix.NLA_F_NESTED
	list := nl.NewRtAttr(unix.NFTA_SET_ELEM_LIST_ELEMENTS|nested, nil)
	list.AddRtAttr(unix.NFTA_LIST_ELEM|nested, nil).AddRtAttr(unix.NFTA_SET_ELEM_KEY|nested, nil).AddRtAttr(unix.NFTA_DATA_VALUE, key)
	req.AddData(list)
	_, err := req.Execute(unix.NETLINK_NETFILTER, 0)
	return err
}

const connectorPairs = 16

// connectors measures the creation of services with a VPC connector and without, in turn.
func connectors(t *testing.T, r *report) {
	c := newCloud(t)
	group := c.group("clients", 0)
	connector, err := c.api.AppRunner.CreateVpcConnector(c.ctx, &apprunner.CreateVpcConnectorInput{
		VpcConnectorName: aws.String("bench"), Subnets: []string{c.subnet}, SecurityGroups: []string{group},
	})
	check(t, err)
	network := &types.NetworkConfiguration{EgressConfiguration: &types.EgressConfiguration{
		EgressType: types.EgressTypeVpc, VpcConnectorArn: connector.VpcConnector.VpcConnectorArn,
	}}
	create := func(name string, network *types.NetworkConfiguration) time.Duration {
		began := time.Now()
		svc := c.createIn(name, nil, network)
		c.status(svc, types.ServiceStatusRunning)
		took := time.Since(began)
		c.remove(svc)
		return took
	}
	create("model", network) // the image is unpacked now
	var with, without []time.Duration
	for n := range connectorPairs {
		first := func() { with = append(with, create(fmt.Sprintf("with-%d", n), network)) }
		second := func() { without = append(without, create(fmt.Sprintf("without-%d", n), nil)) }
		if n%2 == 1 {
			first, second = second, first
		}
		first()
		second()
	}
	a, b := milliseconds(median(with)), milliseconds(median(without))
	what := fmt.Sprintf("create-service with a connector to RUNNING, beyond one without, medians of %d", connectorPairs)
	r.add(what, "%+.0f ms", a-b, fmt.Sprintf("with %.0f ms, without %.0f ms", a, b), 100)
}
