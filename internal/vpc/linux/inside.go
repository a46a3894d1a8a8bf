package linux

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"

	"golang.org/x/sys/unix"

	"github.com/funade/funade/internal/app"
	"github.com/funade/funade/internal/vpc"
	"github.com/funade/funade/internal/vpc/linux/resolver"
)

var _ vpc.Inside = (*Dataplane)(nil)

// DialFrom implements vpc.Inside.
func (d *Dataplane) DialFrom(ctx context.Context, id app.InterfaceID, addr netip.AddrPort) (net.Conn, error) {
	if !addr.Addr().Is4() || addr.Port() == 0 {
		return nil, fmt.Errorf("cannot dial %v: expected an IPv4 address and a port", addr)
	}
	conn, err := d.dialInside(ctx, id, unix.SOCK_STREAM, addr)
	if err != nil {
		return nil, &net.OpError{Op: "dial", Net: "tcp", Addr: net.TCPAddrFromAddrPort(addr), Err: err}
	}
	return conn, nil
}

// dialInside makes the socket in the instance's namespace, where it stays whichever thread uses it.
func (d *Dataplane) dialInside(ctx context.Context, id app.InterfaceID, kind int, addr netip.AddrPort) (net.Conn, error) {
	if _, ok := (*d.attached.Load())[id]; !ok {
		return nil, fmt.Errorf("interface %s is not attached", id)
	}
	ns, err := os.Open(d.netnsPin(id))
	if err != nil {
		return nil, err
	}
	defer ns.Close()
	var fd int
	err = inNamespace(ns, func() (err error) {
		fd, err = unix.Socket(unix.AF_INET, kind|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
		return os.NewSyscallError("socket", err)
	})
	if err != nil {
		return nil, err
	}
	return connect(ctx, fd, addr)
}

// LookupFrom implements vpc.Inside.
func (d *Dataplane) LookupFrom(ctx context.Context, id app.InterfaceID, name string) ([]netip.Addr, error) {
	if err := d.lock(ctx); err != nil {
		return nil, err
	}
	a := d.attachment(id, netip.Addr{}, d.owned()[id])
	d.mu.Unlock()
	failed := fmt.Errorf("cannot look up %s: the instance has no resolver", name)
	for _, at := range a.Resolvers {
		found, err := resolver.Lookup(ctx, name, func(network string) (net.Conn, error) {
			kind := unix.SOCK_DGRAM
			if network == "tcp" {
				kind = unix.SOCK_STREAM
			}
			return d.dialInside(ctx, id, kind, netip.AddrPortFrom(at, 53))
		})
		var dnsError *net.DNSError
		if err == nil || errors.As(err, &dnsError) && dnsError.IsNotFound {
			return found, err
		}
		failed = fmt.Errorf("cannot look up %s at %v: %w", name, at, err)
	}
	return nil, failed
}
