package linux

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/miekg/dns"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/funade/funade/internal/app"
	"github.com/funade/funade/internal/vpc"
	"github.com/funade/funade/internal/vpc/dataplanetest"
)

// The tests run in network and mount namespaces of their own, so the "host" of every test is a private one and no
// packet leaves it. An unprivileged user gets a user namespace around them.
const privateEnv = "FUNADE_TEST_PRIVATE"

func TestMain(m *testing.M) {
	if os.Getenv(privateEnv) == "" {
		os.Exit(reexec())
	}
	if os.Getenv(victimEnv) != "" {
		fmt.Fprintln(os.Stderr, victim())
		os.Exit(1)
	}
	if os.Getenv(firstThreadEnv) != "" {
		if err := onFirstThread(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	if err := setUpWorld(); err != nil {
		fmt.Fprintln(os.Stderr, "cannot set up the test's network:", err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

func reexec() int {
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Args[0] = os.Args[0]
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.Env = append(os.Environ(), privateEnv+"=root")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNS | unix.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
	if os.Geteuid() != 0 {
		cmd.Env = append(os.Environ(), privateEnv+"=user")
		cmd.SysProcAttr.Cloneflags |= unix.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{HostID: os.Geteuid(), Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{HostID: os.Getegid(), Size: 1}}
	}
	var exit *exec.ExitError
	switch err := cmd.Run(); {
	case errors.As(err, &exit):
		return exit.ExitCode()
	case err != nil:
		fmt.Fprintln(os.Stderr, "cannot start the tests in namespaces of their own:", err)
		return 1
	}
	return 0
}

// The simulated surroundings: a host with a public and a LAN address, an internet and a LAN, each a namespace.
var (
	wanHost  = netip.MustParseAddr("203.0.113.2")
	wanPeer  = netip.MustParseAddr("203.0.113.1")
	internet = netip.MustParseAddr("198.51.100.10")
	lanHost  = netip.MustParseAddr("192.168.88.2")
	lanPeer  = netip.MustParseAddr("192.168.88.1")
	wanNS    *os.File
	lanNS    *os.File
	// udpSeen counts datagrams at port 7 of the internet by sender and content.
	udpSeen atomic.Pointer[func(from netip.Addr, text string)]
)

const (
	echoPort = 80   // says who calls, in the internet and the LAN
	hostPort = 9000 // a service of the host
)

func setUpWorld() (err error) {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return err
	}
	const dir = "/run" // empty for the tests only
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, ""); err != nil {
		return err
	}
	if err := os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("0"), 0); err != nil {
		return err
	}
	h, err := newHandle()
	if err != nil {
		return err
	}
	lo, err := findLink(h, "lo")
	if err != nil {
		return err
	}
	if err := setUp(h, lo); err != nil {
		return err
	}
	if wanNS, err = neighbour(h, dir, "wan", wanHost, wanPeer, internet); err != nil {
		return err
	}
	if lanNS, err = neighbour(h, dir, "lan", lanHost, lanPeer); err != nil {
		return err
	}
	if err := h.RouteAdd(&netlink.Route{Gw: wanPeer.AsSlice()}); err != nil {
		return err
	}
	l, err := net.Listen("tcp4", fmt.Sprintf(":%d", hostPort))
	if err != nil {
		return err
	}
	go sayCaller(l)
	return serveInternet()
}

// neighbour makes a namespace next to the host: host end <name>0 with an address, the other end with the rest.
func neighbour(h *netlink.Handle, dir, name string, host, peer netip.Addr, more ...netip.Addr) (*os.File, error) {
	path := filepath.Join(dir, name)
	if err := ensureNetns(path); err != nil {
		return nil, err
	}
	ns, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	link := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: name + "0"}, PeerName: "eth0", PeerNamespace: netlink.NsFd(int(ns.Fd()))}
	if err := h.LinkAdd(link); err != nil {
		return nil, err
	}
	if err := errors.Join(setAddress(h, link, net24(host)), setUp(h, link)); err != nil {
		return nil, err
	}
	return ns, inNamespace(ns, func() error {
		inner, err := newHandle()
		if err != nil {
			return err
		}
		defer inner.Close()
		for _, name := range []string{"lo", "eth0"} {
			l, err := findLink(inner, name)
			if err != nil {
				return err
			}
			if err := setUp(inner, l); err != nil {
				return err
			}
			if name == "eth0" {
				if err := setAddress(inner, l, net24(peer)); err != nil {
					return err
				}
				for _, a := range more {
					if err := setAddress(inner, l, hostPrefix(a)); err != nil {
						return err
					}
				}
			}
		}
		l, err := net.Listen("tcp4", fmt.Sprintf(":%d", echoPort))
		if err == nil {
			go sayCaller(l)
		}
		return err
	})
}

func net24(a netip.Addr) *net.IPNet {
	return &net.IPNet{IP: a.AsSlice(), Mask: net.CIDRMask(24, 32)}
}

// sayCaller answers every connection with the caller's address.
func sayCaller(l net.Listener) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		host, _, _ := net.SplitHostPort(c.RemoteAddr().String())
		io.WriteString(c, host)
		c.Close()
	}
}

// serveInternet adds a DNS server and a UDP counter to the internet.
func serveInternet() error {
	return inNamespace(wanNS, func() error {
		packets, err := net.ListenPacket("udp4", ":53")
		if err != nil {
			return err
		}
		streams, err := net.Listen("tcp4", ":53")
		if err != nil {
			return err
		}
		for _, s := range []*dns.Server{{PacketConn: packets, Handler: dns.HandlerFunc(upstreamAnswer)}, {Listener: streams, Handler: dns.HandlerFunc(upstreamAnswer)}} {
			go s.ActivateAndServe()
		}
		counter, err := net.ListenPacket("udp4", ":7")
		if err != nil {
			return err
		}
		go func() {
			buf := make([]byte, 1500)
			for {
				n, from, err := counter.ReadFrom(buf)
				if err != nil {
					return
				}
				if f := udpSeen.Load(); f != nil {
					(*f)(from.(*net.UDPAddr).AddrPort().Addr(), string(buf[:n]))
				}
			}
		}()
		return nil
	})
}

// upstreamAnswer knows example.test and, too large for UDP, big.test.
func upstreamAnswer(w dns.ResponseWriter, q *dns.Msg) {
	m := new(dns.Msg).SetReply(q)
	switch name := q.Question[0].Name; name {
	case "example.test.":
		m.Answer = []dns.RR{&dns.A{Hdr: dns.RR_Header{Name: name, Rrtype: dns.TypeA, Class: dns.ClassINET, Ttl: 60}, A: internet.AsSlice()}}
	case "big.test.":
		for i := range 200 {
			m.Answer = append(m.Answer, &dns.A{Hdr: dns.RR_Header{Name: name, Rrtype: dns.TypeA, Class: dns.ClassINET, Ttl: 60}, A: net.IPv4(10, 0, 0, byte(i))})
		}
		if _, udp := w.RemoteAddr().(*net.UDPAddr); udp {
			m.Truncate(1232)
		}
	default:
		m.Rcode = dns.RcodeNameError
	}
	w.WriteMsg(m)
}

var installs atomic.Int32

// freshConfig returns the configuration of an install that no other test uses; what it leaves is purged and checked.
func freshConfig(t testing.TB) Config {
	n := installs.Add(1)
	transit := transitRange.Addr().As4()
	transit[2], transit[3] = byte(n>>6), byte(n<<2)
	c := Config{
		Install: app.InstallID(fmt.Sprintf("%08x", n)), RunDir: filepath.Join(filepath.Dir(wanNS.Name()), fmt.Sprintf("run-%d", n)),
		Prefix:        netip.PrefixFrom(netip.AddrFrom4([4]byte{100, 64 + byte(n>>8), byte(n), 0}), 24),
		TransitPrefix: netip.PrefixFrom(netip.AddrFrom4(transit), 30),
		DNSUpstreams:  []netip.AddrPort{netip.AddrPortFrom(internet, 53)},
	}
	t.Cleanup(func() {
		if err := Purge(context.Background(), c); err != nil {
			t.Errorf("Purge: %v", err)
		}
		expectNothing(t, c)
	})
	return c
}

// expectNothing checks that an install left nothing in the host.
func expectNothing(t testing.TB, c Config) {
	t.Helper()
	n, err := c.names()
	if err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{n.netnsDir(), n.usernsDir()} {
		if entries, err := os.ReadDir(dir); err == nil && len(entries) > 0 {
			t.Errorf("%s still has %v", dir, entries)
		}
	}
	h, err := newHandle()
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	if l, err := findLink(h, n.hostLink()); l != nil || err != nil {
		t.Errorf("link %s is left: %v", n.hostLink(), err)
	}
	rules, err := h.RuleList(netlink.FAMILY_V4)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range rules {
		if r.Table == n.lanTable() {
			t.Errorf("the routing rule %v is left", r)
		}
	}
	nft, err := newConn()
	if err != nil {
		t.Fatal(err)
	}
	defer nft.CloseLasting()
	tables, err := nft.ListTables()
	if err != nil {
		t.Fatal(err)
	}
	for _, table := range tables {
		if table.Name == n.hostTable() {
			t.Errorf("table %s is left", table.Name)
		}
	}
}

// openPlane opens a data plane that ends with the test.
func openPlane(t testing.TB, c Config) *Dataplane {
	t.Helper()
	d, err := Open(context.Background(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return d
}

func attach(t testing.TB, d *Dataplane, i vpc.Interface) vpc.Attachment {
	t.Helper()
	a, err := d.Attach(context.Background(), i)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// inside runs f in the network namespace of an attachment.
func inside(t testing.TB, a vpc.Attachment, f func() error) error {
	t.Helper()
	ns, err := os.Open(a.NetnsPath)
	if err != nil {
		t.Fatal(err)
	}
	defer ns.Close()
	return inNamespace(ns, f)
}

// serveIn runs a server in a namespace until the test ends.
func serveIn(t testing.TB, a vpc.Attachment, address string, serve func(net.Listener)) {
	t.Helper()
	var l net.Listener
	if err := inside(t, a, func() (err error) {
		l, err = net.Listen("tcp", address)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go serve(l)
}

// call connects from the current thread's namespace and returns what the other side says.
func call(address string, patience time.Duration) (string, error) {
	c, err := net.DialTimeout("tcp4", address, patience)
	if err != nil {
		return "", err
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(patience))
	b, err := io.ReadAll(c)
	return string(b), err
}

func callFrom(t testing.TB, a vpc.Attachment, address string, patience time.Duration) (said string, err error) {
	t.Helper()
	err = inside(t, a, func() (err error) {
		said, err = call(address, patience)
		return err
	})
	return said, err
}

type world struct{ c Config }

func (w world) Layout() vpc.Layout {
	n, err := w.c.names()
	if err != nil {
		panic(err)
	}
	return n.Layout
}

func (w world) Open(t testing.TB) (vpc.Dataplane, vpc.Sockets) {
	d := openPlane(t, w.c)
	return d, d
}

func (w world) Serve(t testing.TB, a vpc.Attachment, port int, greeting string) {
	serveIn(t, a, fmt.Sprintf(":%d", port), func(l net.Listener) { dataplanetest.Greet(l, greeting) })
}

func (w world) DialDoor(t testing.TB, a vpc.Attachment, port int) (c net.Conn, err error) {
	err = inside(t, a, func() (err error) {
		c, err = net.DialTimeout("tcp4", netip.AddrPortFrom(w.Layout().Door(), uint16(port)).String(), 5*time.Second)
		return err
	})
	return c, err
}

func TestConformance(t *testing.T) {
	dataplanetest.Run(t, func(t *testing.T) dataplanetest.World { return world{freshConfig(t)} })
}
