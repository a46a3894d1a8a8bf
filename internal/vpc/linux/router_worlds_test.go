package linux

import (
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/funade/funade/internal/app"
	"github.com/funade/funade/internal/vpc"
	"github.com/funade/funade/internal/vpc/dataplanetest"
	"github.com/funade/funade/internal/vpc/vpctest"
)

const (
	worldProbes  = 420 // in each world
	worldSenders = 48  // probes under way at once
	// Worlds with packets to the outside, and how many in each.
	outwardWorlds, outwardProbes = 8, 150
	// How long to wait for what should be answered, and for what should not.
	patient, impatient = 10 * time.Second, 250 * time.Millisecond
)

// TestWorldsAgreeWithPackets sends what vpctest probes: rows, compiled rules and packets must tell the same.
func TestWorldsAgreeWithPackets(t *testing.T) {
	worlds := 16
	if n, err := strconv.Atoi(os.Getenv("FUNADE_WORLDS")); err == nil {
		worlds = n
	}
	sent, arrived := 0, 0
	for seed := range uint64(worlds) {
		s := vpctest.World(seed)
		s.LANs = nil // they need networks of the host; routes to them are blackholes then
		t.Run(strconv.FormatUint(seed, 10), func(t *testing.T) {
			w := openProbeWorld(t, s)
			n, ok := w.probeAll(t, vpctest.Probes(s, seed, worldProbes))
			sent, arrived = sent+n, arrived+ok
		})
	}
	t.Logf("%d packets were sent, %d answered", sent, arrived)
	if sent < worlds*worldProbes/2 || arrived < sent/20 {
		t.Error("the worlds test little")
	}
}

// TestTheWayOutAgreesWithPackets does the same with packets to the outside, which pass NAT gateways and their subnets' ACLs.
func TestTheWayOutAgreesWithPackets(t *testing.T) {
	sent, arrived := 0, 0
	for seed := range uint64(outwardWorlds) {
		s, probes := vpctest.Outward(seed, internet, outwardProbes)
		s.LANs = nil
		t.Run(strconv.FormatUint(seed, 10), func(t *testing.T) {
			w := openProbeWorld(t, s)
			n, ok := w.probeAll(t, slices.DeleteFunc(probes, func(p vpc.Packet) bool { // what nobody answers, or from a port that is not known
				return p.Protocol == unix.IPPROTO_UDP || p.Protocol == unix.IPPROTO_TCP && p.SourcePort == 0
			}))
			sent, arrived = sent+n, arrived+ok
		})
	}
	t.Logf("%d packets were sent, %d answered", sent, arrived)
	if sent < outwardWorlds*outwardProbes/2 || arrived < sent/5 || arrived > sent*4/5 {
		t.Error("the worlds test little")
	}
}

// probeWorld is a world whose private hosts have network namespaces.
type probeWorld struct {
	snapshot vpc.Snapshot
	rules    *vpc.Ruleset
	hosts    map[app.InterfaceID]vpc.Attachment
	at       map[app.VPCID]map[netip.Addr]app.InterfaceID
	echoes   map[app.VPCID]map[netip.AddrPort]bool
}

func openProbeWorld(t *testing.T, s vpc.Snapshot) *probeWorld {
	t.Helper()
	w := &probeWorld{snapshot: s, rules: vpc.Compile(s), hosts: map[app.InterfaceID]vpc.Attachment{}, at: map[app.VPCID]map[netip.Addr]app.InterfaceID{}, echoes: map[app.VPCID]map[netip.AddrPort]bool{}}
	d := openPlane(t, freshConfig(t))
	if err := d.Program(t.Context(), w.rules); err != nil {
		t.Fatal(err)
	}
	blocks := map[app.SubnetID]netip.Prefix{}
	for _, sub := range s.Subnets {
		blocks[sub.ID] = sub.CIDR
	}
	for n, row := range s.Interfaces {
		if row.Kind != app.InterfaceOfUser {
			continue
		}
		i := dataplanetest.Interface(n)
		i.ENIs = []vpc.ENI{{ID: row.ID, VPC: row.VPC, Addresses: row.Addresses, Subnet: blocks[row.Subnet], MAC: row.MAC}}
		w.hosts[row.ID] = attach(t, d, i)
		if w.at[row.VPC] == nil {
			w.at[row.VPC], w.echoes[row.VPC] = map[netip.Addr]app.InterfaceID{}, map[netip.AddrPort]bool{}
		}
		for _, a := range row.Addresses {
			w.at[row.VPC][a] = row.ID
		}
	}
	return w
}

func (w *probeWorld) probeAll(t *testing.T, probes []vpc.Packet) (sent, arrived int) {
	var wg sync.WaitGroup
	free := make(chan struct{}, worldSenders)
	for n, p := range probes {
		if p.Protocol == unix.IPPROTO_GRE { // nobody answers
			continue
		}
		if p.SourcePort != 0 {
			p.SourcePort = uint16(32768 + n*7%20000) // each its own
		}
		if p.Protocol == unix.IPPROTO_UDP {
			w.echo(t, p)
		}
		allowed, why := w.rules.Allows(p)
		if rows := vpctest.Allows(w.snapshot, p); rows != allowed {
			t.Fatalf("%+v: the rules say %v (%s), the rows %v", p, allowed, why.Text, rows)
		}
		if sent++; allowed {
			arrived++
		}
		free <- struct{}{}
		wg.Go(func() {
			defer func() { <-free }()
			patience := impatient
			if allowed {
				patience = patient
			}
			if got, err := w.send(p, patience); got != allowed {
				t.Errorf("%+v is answered: %v (%v); the rules say %v: %s", p, got, err, allowed, why.Text)
			}
		})
	}
	wg.Wait()
	return sent, arrived
}

// echo makes the destination of a datagram answer.
func (w *probeWorld) echo(t *testing.T, p vpc.Packet) {
	t.Helper()
	to := netip.AddrPortFrom(p.Destination, p.DestinationPort)
	if w.echoes[p.VPC][to] {
		return
	}
	w.echoes[p.VPC][to] = true
	echoUDP(t, w.hosts[w.at[p.VPC][p.Destination]], to.String())
}

// send sends a packet for real and reports whether anything of the destination comes back.
func (w *probeWorld) send(p vpc.Packet, patience time.Duration) (answered bool, err error) {
	ns, err := openNS(w.hosts[p.From])
	if err != nil {
		return false, err
	}
	defer ns.Close()
	err = inNamespace(ns, func() error {
		if p.Protocol == unix.IPPROTO_ICMP {
			return pingAs(p.Source, p.Destination, patience)
		}
		from := net.TCPAddrFromAddrPort(netip.AddrPortFrom(p.Source, p.SourcePort))
		dialer, network := net.Dialer{Timeout: patience, LocalAddr: from}, "tcp4"
		if p.Protocol == unix.IPPROTO_UDP {
			dialer.LocalAddr, network = (*net.UDPAddr)(from), "udp4"
		}
		c, err := dialer.Dial(network, netip.AddrPortFrom(p.Destination, p.DestinationPort).String())
		if err != nil || network == "tcp4" {
			if err == nil {
				c.Close()
			}
			return err
		}
		defer c.Close()
		if _, err := c.Write([]byte("x")); err != nil {
			return err
		}
		if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
			return err
		}
		_, err = c.Read(make([]byte, 1))
		return err
	})
	// Nothing listens on TCP's ports: the refusal is the destination's answer.
	return err == nil || p.Protocol == unix.IPPROTO_TCP && errors.Is(err, unix.ECONNREFUSED), err
}

// pingAs sends an echo request from one of the sender's addresses and waits for the reply.
func pingAs(from, to netip.Addr, patience time.Duration) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM, unix.IPPROTO_ICMP)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	limit := unix.NsecToTimeval(patience.Nanoseconds())
	if err := errors.Join(unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &limit), unix.SetsockoptInt(fd, unix.SOL_IP, unix.IP_RECVERR, 1),
		unix.Bind(fd, &unix.SockaddrInet4{Addr: from.As4()})); err != nil {
		return err
	}
	request := []byte{8, 0, 0, 0, 0, 1, 0, 1, 'f', 'u'}
	binary.BigEndian.PutUint16(request[2:], ^uint16(0x0800+1+1+0x6675))
	if err := unix.Sendto(fd, request, 0, &unix.SockaddrInet4{Addr: to.As4()}); err != nil {
		return err
	}
	b := make([]byte, 100)
	if n, _, err := unix.Recvfrom(fd, b, 0); err != nil || n < 8 || b[0] != 0 {
		return errors.Join(errors.New("no echo reply"), err)
	}
	return nil
}
