package linux

import (
	"net/netip"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/funade/funade/internal/base/failpoint"
	"github.com/funade/funade/internal/vpc"
)

// sniffer counts the IPv4 packets from some sources that a namespace's links receive.
type sniffer struct {
	seen atomic.Int64
	fd   int
	done chan struct{}
}

func sniff(t *testing.T, ns *os.File, sources ...netip.Addr) *sniffer {
	t.Helper()
	s := &sniffer{done: make(chan struct{})}
	if err := inNamespace(ns, func() (err error) {
		const ipv4 = 0x0008 // ETH_P_IP in network order
		s.fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, ipv4)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	limit := unix.NsecToTimeval(int64(50 * time.Millisecond))
	if err := unix.SetsockoptTimeval(s.fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &limit); err != nil {
		t.Fatal(err)
	}
	stop := make(chan struct{})
	go func() {
		defer close(s.done)
		b := make([]byte, 128)
		for {
			n, from, err := unix.Recvfrom(s.fd, b, 0)
			if link, ok := from.(*unix.SockaddrLinklayer); err == nil && n >= 20 && ok && link.Pkttype != unix.PACKET_OUTGOING &&
				slices.Contains(sources, netip.AddrFrom4([4]byte(b[12:16]))) {
				s.seen.Add(1)
			}
			select {
			case <-stop:
				return
			default:
			}
		}
	}()
	t.Cleanup(func() {
		close(stop)
		<-s.done
		unix.Close(s.fd)
	})
	return s
}

// An instance that sends as fast as it can from the moment its namespace exists gets no packet through that its groups
// and routes do not allow, while its links come up and afterwards.
func TestNoPacketPassesBeforeItsRules(t *testing.T) {
	d := openPlane(t, freshConfig(t))
	if err := d.Apply(t.Context(), vpc.InstallRules{}); err != nil {
		t.Fatal(err)
	}
	p := newPlan(1)
	p.group('c', nothing(), everything())
	p.group('h', icmpFrom('h'), everything())
	i, j := p.port(1, "192.168.1.50", 'c'), p.port(2, "192.168.3.10", 'h')
	program(t, d, p)
	h := attach(t, d, j)
	managed, err := d.Address(i.Index)
	if err != nil {
		t.Fatal(err)
	}
	own, target := i.ENIs[0].Addresses[0], j.ENIs[0].Addresses[0]
	ns, err := openNS(h)
	if err != nil {
		t.Fatal(err)
	}
	defer ns.Close()
	_, router, err := uplinkAddresses(1)
	if err != nil {
		t.Fatal(err)
	}
	atHost, outside := sniff(t, ns, own, managed), sniff(t, wanNS, own, managed, wanHost)
	atMgmt := sniff(t, d.mgmtNS, own, router)

	var wg sync.WaitGroup
	var sent atomic.Int64
	stop := make(chan struct{})
	disable := failpoint.Enable("vpc/attach/namespaces", func() error {
		instance, err := os.Open(d.netnsPin(i.ID))
		if err != nil {
			return err
		}
		wg.Go(func() {
			defer instance.Close()
			_ = inNamespace(instance, func() error { return blast(stop, &sent, own, managed, target) })
		})
		return nil
	})
	attach(t, d, i)
	disable()
	before := sent.Load()
	poll(300*time.Millisecond, func() bool { return sent.Load() >= before+2000 })
	if sent.Load() == 0 {
		t.Error("nothing was sent, so the test proves nothing")
	}
	if a, b, c := atHost.seen.Load(), outside.seen.Load(), atMgmt.seen.Load(); a+b+c > 0 {
		t.Errorf("packets passed: %d to the host, %d to the internet, %d out of the VPC", a, b, c)
	}
	p.change()
	p.group('h', icmpFrom('c'), everything())
	p.n.NATs["nat-1"] = &vpc.NAT{ID: "nat-1"}
	p.route(anywhere(vpc.RouteNAT, "nat-1"))
	program(t, d, p)
	poll(5*time.Second, func() bool { return atHost.seen.Load() > 0 && outside.seen.Load() > 0 })
	close(stop)
	wg.Wait()
	if atHost.seen.Load() == 0 || outside.seen.Load() == 0 {
		t.Errorf("after the rules allow it %d and %d packets are seen, so the test proves nothing", atHost.seen.Load(), outside.seen.Load())
	}
}

// poll asks until done or the patience is over.
func poll(patience time.Duration, done func() bool) {
	ticks := time.NewTicker(time.Millisecond)
	defer ticks.Stop()
	for over := time.After(patience); !done(); {
		select {
		case <-over:
			return
		case <-ticks.C:
		}
	}
}

// blast sends echo requests to the target and datagrams to the internet from both addresses until stop.
func blast(stop <-chan struct{}, sent *atomic.Int64, own, managed, target netip.Addr) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_RAW, unix.IPPROTO_RAW)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	for {
		select {
		case <-stop:
			return nil
		default:
		}
		for _, from := range []netip.Addr{own, managed} {
			for _, to := range []netip.Addr{target, internet} {
				packet := make([]byte, 32)
				packet[0], packet[8], packet[9] = 0x45, 64, unix.IPPROTO_ICMP
				copy(packet[12:], from.AsSlice())
				copy(packet[16:], to.AsSlice())
				copy(packet[20:], []byte{8, 0, 0xf7, 0xfd, 0, 1, 0, 1})
				if to == internet {
					packet[9] = unix.IPPROTO_UDP
					copy(packet[20:], []byte{0x13, 0x88, 0, 7, 0, 12, 0, 0})
				}
				if unix.Sendto(fd, packet, 0, &unix.SockaddrInet4{Addr: to.As4()}) == nil {
					sent.Add(1)
				}
			}
		}
	}
}
