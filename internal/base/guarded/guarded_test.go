package guarded

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
)

type names map[string][]string

func (n names) LookupNetIP(_ context.Context, _, host string) ([]netip.Addr, error) {
	addrs, ok := n[host]
	if !ok {
		return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
	}
	var out []netip.Addr
	for _, a := range addrs {
		out = append(out, netip.MustParseAddr(a))
	}
	return out, nil
}

func TestClass(t *testing.T) {
	for addr, want := range map[string]string{
		"8.8.8.8": "", "2606:4700::1111": "", "172.32.0.1": "", "100.128.0.1": "",
		"127.0.0.1": "loopback", "127.255.0.1": "loopback", "::1": "loopback", "::ffff:127.0.0.1": "loopback",
		"169.254.169.254": "link-local", "fe80::1": "link-local", "fe80::1%eth0": "link-local",
		"10.1.2.3": "private", "172.16.0.1": "private", "172.31.255.255": "private", "192.168.1.1": "private",
		"fd00::1": "private", "::ffff:10.0.0.1": "private", "64:ff9b::a00:1": "private", "2002:a00:1::": "private",
		"::7f00:1": "loopback", "64:ff9b::808:808": "",
		"100.64.0.1": "shared address space (CGNAT)", "100.127.255.255": "shared address space (CGNAT)",
		"224.0.0.1": "multicast", "ff02::1": "multicast", "0.0.0.0": "unspecified", "0.1.2.3": "unspecified", "::": "unspecified",
		"255.255.255.255": "reserved", "240.0.0.1": "reserved", "192.0.2.1": "reserved for documentation",
	} {
		if got := class(netip.MustParseAddr(addr)); got != want {
			t.Errorf("class(%s) = %q, want %q", addr, got, want)
		}
	}
}

func TestRefusalNamesHostAddressAndRemedy(t *testing.T) {
	d := &Dialer{Resolver: names{"inside.example": {"10.0.0.7", "::1"}}}
	_, err := d.DialContext(t.Context(), "tcp", "inside.example:80")
	if !errors.Is(err, ErrRefused) {
		t.Fatalf("got %v", err)
	}
	for _, part := range []string{"inside.example", "10.0.0.7", "private", "--allow-dial 10.0.0.7/32"} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%q lacks %q", err, part)
		}
	}
}

func TestResolveKeepsOnlyOpenAddresses(t *testing.T) {
	d := &Dialer{
		Allow:    []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")},
		Deny:     []netip.Prefix{netip.MustParsePrefix("10.9.0.0/16"), netip.MustParsePrefix("198.51.0.0/16")},
		Resolver: names{"mixed.example": {"127.0.0.1", "10.1.0.1", "10.9.0.1", "93.184.216.34", "::ffff:10.1.0.2"}},
	}
	got, err := d.resolve(t.Context(), "ip", "mixed.example")
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"10.1.0.1", "93.184.216.34", "10.1.0.2"}
	if len(got) != len(want) {
		t.Fatalf("got %v", got)
	}
	for i := range want {
		if got[i].String() != want[i] {
			t.Errorf("address %d is %s, want %s", i, got[i], want[i])
		}
	}
	if _, err := d.resolve(t.Context(), "ip", "10.9.1.1"); !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), "this install") {
		t.Errorf("an address of the install: %v", err)
	}
}

func TestRedirectsAreGuardedToo(t *testing.T) {
	target := httptest.NewServer(http.RedirectHandler("http://[::1]:1/", http.StatusFound))
	defer target.Close()
	d := &Dialer{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}}
	transport := d.Transport()
	defer transport.CloseIdleConnections()
	_, err := (&http.Client{Transport: transport}).Get(target.URL)
	if !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), "::1/128") {
		t.Errorf("the redirect to loopback was not refused: %v", err)
	}
}

func TestDialTriesTheNextAddress(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	_, port, _ := net.SplitHostPort(ln.Addr().String())
	d := &Dialer{
		Allow:    []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")},
		Resolver: names{"two.example": {"127.0.0.99", "127.0.0.1"}},
	}
	conn, err := d.DialContext(t.Context(), "tcp", "two.example:"+port)
	if err != nil {
		t.Fatal(err)
	}
	_ = conn.Close()
}

func TestBadDestinations(t *testing.T) {
	d := &Dialer{Resolver: names{"empty.example": {}}}
	for addr, network := range map[string]string{"no-port": "tcp", "gone.example:80": "tcp", "empty.example:80": "tcp", "8.8.8.8:53": "udp"} {
		if _, err := d.DialContext(t.Context(), network, addr); err == nil || errors.Is(err, ErrRefused) {
			t.Errorf("%s %s: %v", network, addr, err)
		}
	}
}
