package linux

import (
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/funade/funade/internal/app"
	"github.com/funade/funade/internal/vpc"
	"github.com/funade/funade/internal/vpc/dataplanetest"
)

const (
	matrixHosts = 6
	matrixWait  = 600 * time.Millisecond
	matrixVPC   = app.VPCID("vpc-000000000000abcde")
)

// matrixWorld is a VPC made of rows by chance.
func matrixWorld(r *rand.Rand) vpc.Snapshot {
	block := netip.MustParsePrefix("10.50.0.0/16")
	s := vpc.Snapshot{
		VPCs: []app.VPC{{ID: matrixVPC, CIDR: block, DNSSupport: true}}, Slots: map[app.VPCID]int{matrixVPC: 3},
		Subnets: []app.Subnet{
			{ID: subnetA, VPC: matrixVPC, CIDR: netip.MustParsePrefix("10.50.1.0/24")},
			{ID: subnetB, VPC: matrixVPC, CIDR: netip.MustParsePrefix("10.50.2.0/24")},
		},
		RouteTables: []app.RouteTable{{ID: tableA, VPC: matrixVPC, Associations: []app.TableAssociation{{ID: "rtbassoc-1", Main: true}},
			Routes: []app.Route{{CIDR: block, Kind: app.TargetLocal}}}},
	}
	for g := range 4 {
		s.Groups = append(s.Groups, app.SecurityGroup{ID: groupID(byte(g)), VPC: matrixVPC})
		for n := range 5 {
			s.Rules = append(s.Rules, chanceRule(r, groupID(byte(g)), fmt.Sprintf("sgr-%d-%d", g, n)))
		}
	}
	for n := range matrixHosts {
		groups := []app.GroupID{groupID(byte(r.IntN(4)))}
		if other := groupID(byte(r.IntN(4))); other != groups[0] {
			groups = append(groups, other)
		}
		s.Interfaces = append(s.Interfaces, app.NetworkInterface{
			ID: app.InterfaceID(fmt.Sprintf("eni-%017x", 0xf0000+n)), VPC: matrixVPC, Kind: app.InterfaceOfInstance, Subnet: []app.SubnetID{subnetA, subnetB}[n%2],
			Addresses: []netip.Addr{netip.AddrFrom4([4]byte{10, 50, byte(1 + n%2), byte(10 + n)})}, Groups: groups,
			MAC: net.HardwareAddr{2, 0xdd, 0, 0, 0, byte(n)}.String(), SourceDestCheck: true, Owner: fmt.Sprint("i-", n),
		})
	}
	s.ACLs = []app.NetworkACL{{ID: openACL, VPC: matrixVPC, Entries: chanceEntries(r), Associations: []app.ACLAssociation{{ID: "aclassoc-1", Subnet: subnetB}}}}
	return s
}

func chanceRule(r *rand.Rand, g app.GroupID, id string) app.SecurityGroupRule {
	rule := app.SecurityGroupRule{ID: app.RuleID(id), Group: g, Egress: r.IntN(2) == 0, FromPort: -1, ToPort: -1}
	switch r.IntN(4) {
	case 0:
		rule.Protocol = -1
	case 1:
		rule.Protocol = unix.IPPROTO_ICMP
		rule.FromPort = []int{-1, 8, 3}[r.IntN(3)]
	default:
		rule.Protocol = []int{unix.IPPROTO_TCP, unix.IPPROTO_UDP}[r.IntN(2)]
		rule.FromPort = []int{0, 80, 81}[r.IntN(3)]
		rule.ToPort = max(rule.FromPort, []int{80, 82, 65535}[r.IntN(3)])
	}
	switch r.IntN(3) {
	case 0:
		rule.Peer = groupID(byte(r.IntN(4)))
	default:
		rule.CIDR = netip.MustParsePrefix([]string{"0.0.0.0/0", "10.50.1.0/24", "10.50.2.0/24", "10.50.0.0/17", "10.50.1.10/31"}[r.IntN(5)]).Masked()
	}
	return rule
}

func chanceEntries(r *rand.Rand) []app.ACLEntry {
	all := netip.MustParsePrefix("0.0.0.0/0")
	var out []app.ACLEntry
	for _, egress := range []bool{false, true} {
		if r.IntN(2) == 0 {
			e := app.ACLEntry{Number: 50, Egress: egress, Protocol: unix.IPPROTO_TCP, CIDR: all, FromPort: 80, ToPort: 80}
			if egress {
				e.Protocol, e.CIDR = unix.IPPROTO_UDP, netip.MustParsePrefix("10.50.1.10/32")
				e.FromPort, e.ToPort = 0, 65535
			}
			out = append(out, e)
		}
		out = append(out, app.ACLEntry{Number: 100, Egress: egress, Allow: true, Protocol: -1, CIDR: all},
			app.ACLEntry{Number: 32767, Egress: egress, Protocol: -1, CIDR: all})
	}
	return out
}

// TestPacketsAgreeWithTheExplanation compares what arrives with what the compiled rules say, over worlds made by chance.
func TestPacketsAgreeWithTheExplanation(t *testing.T) {
	d := openPlane(t, freshConfig(t))
	compiler := vpc.NewCompiler()
	var attached []vpc.Attachment
	for seed := range uint64(4) {
		s := matrixWorld(rand.New(rand.NewPCG(seed, 1)))
		rules := compiler.Compile(s)
		if err := d.Program(t.Context(), rules); err != nil {
			t.Fatal(err)
		}
		for n, row := range s.Interfaces[len(attached):] {
			i := dataplanetest.Interface(n)
			i.ENIs = []vpc.ENI{{ID: row.ID, VPC: row.VPC, Addresses: row.Addresses, Subnet: netip.PrefixFrom(row.Addresses[0], 24).Masked(), MAC: row.MAC}}
			a := attach(t, d, i)
			for _, port := range []int{80, 81, 83} {
				serveIn(t, a, fmt.Sprintf(":%d", port), func(l net.Listener) { dataplanetest.Greet(l, "x") })
				echoUDP(t, a, fmt.Sprintf(":%d", port))
			}
			attached = append(attached, a)
		}
		allowed := compareMatrix(t, d, rules, s.Interfaces, attached, seed)
		if allowed == 0 {
			t.Errorf("seed %d: nothing is allowed, so the test proves little", seed)
		}
	}
}

// echoUDP answers datagrams inside an instance.
func echoUDP(t *testing.T, a vpc.Attachment, addr string) {
	t.Helper()
	var c net.PacketConn
	if err := inside(t, a, func() (err error) {
		c, err = net.ListenPacket("udp4", addr)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	go func() {
		b := make([]byte, 64)
		for {
			n, from, err := c.ReadFrom(b)
			if err != nil {
				return
			}
			_, _ = c.WriteTo(b[:n], from)
		}
	}()
}

func compareMatrix(t *testing.T, d *Dataplane, rules *vpc.Ruleset, rows []app.NetworkInterface, attached []vpc.Attachment, seed uint64) (allowed int) {
	var wg sync.WaitGroup
	for from := range rows {
		for to := range rows {
			if from == to {
				continue
			}
			for _, probe := range []struct {
				protocol uint8
				port     uint16
			}{{unix.IPPROTO_TCP, 80}, {unix.IPPROTO_TCP, 81}, {unix.IPPROTO_TCP, 83}, {unix.IPPROTO_UDP, 80}, {unix.IPPROTO_UDP, 81}, {unix.IPPROTO_UDP, 83}, {unix.IPPROTO_ICMP, 8 << 8}} {
				p := vpc.Packet{VPC: matrixVPC, From: rows[from].ID, Source: rows[from].Addresses[0], Destination: rows[to].Addresses[0], Protocol: probe.protocol, DestinationPort: probe.port}
				e := rules.Explain(p)
				if e.Allowed {
					allowed++
				}
				wg.Go(func() {
					if got := arrives(d, attached[from], p); got != e.Allowed {
						t.Errorf("seed %d: %v to %v, protocol %d, port %d arrives: %v; %s", seed, p.Source, p.Destination, p.Protocol, p.DestinationPort, got, e)
					}
				})
			}
		}
	}
	wg.Wait()
	return allowed
}

// arrives sends a packet for real and waits for the answer.
func arrives(d *Dataplane, from vpc.Attachment, p vpc.Packet) (ok bool) {
	ns, err := openNS(from)
	if err != nil {
		return false
	}
	defer ns.Close()
	err = inNamespace(ns, func() error {
		if p.Protocol == unix.IPPROTO_ICMP {
			ok = pingOnce(p.Destination) == answered
			return nil
		}
		network := "tcp4"
		if p.Protocol == unix.IPPROTO_UDP {
			network = "udp4"
		}
		c, err := net.DialTimeout(network, netip.AddrPortFrom(p.Destination, p.DestinationPort).String(), matrixWait)
		if err != nil {
			return err
		}
		defer c.Close()
		c.SetDeadline(time.Now().Add(matrixWait))
		if network == "udp4" {
			if _, err := c.Write([]byte("x")); err != nil {
				return err
			}
		}
		b := make([]byte, 1)
		_, err = io.ReadFull(c, b)
		ok = err == nil && slices.Equal(b, []byte("x"))
		return nil
	})
	return ok && err == nil
}
