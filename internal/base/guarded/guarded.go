// Package guarded dials destinations that a caller of the API named (origins, image
// references, key sets, webhooks). After name resolution, and so on every redirect too, it
// refuses addresses that belong to the machine, its neighbours or the install, unless the
// operator has opened them.
package guarded

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"time"
)

// ErrRefused is in the chain of the error for a destination that may not be dialled; asking
// again cannot help.
var ErrRefused = errors.New("destination refused")

// Resolver looks names up; *net.Resolver is one.
type Resolver interface {
	LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error)
}

// Dialer dials TCP to public addresses. The zero value opens nothing beside them. It must not
// be changed once in use.
type Dialer struct {
	// Allow opens ranges that would be refused (--allow-dial).
	Allow []netip.Prefix
	// Deny closes further ranges, the install's own; it wins over Allow.
	Deny []netip.Prefix
	// Resolver is net.DefaultResolver when nil.
	Resolver Resolver
	// Timeout bounds resolution and all attempts together; 0 = 30 s.
	Timeout time.Duration
}

// maxAddresses bounds how many addresses of one name are tried.
const maxAddresses = 8

// DialContext connects to the first address of addr's host that is not refused and answers.
// The network is tcp, tcp4 or tcp6. A refusal names host, address and remedy and holds ErrRefused.
func (d *Dialer) DialContext(ctx context.Context, network, addr string) (net.Conn, error) {
	want, ok := map[string]string{"tcp": "ip", "tcp4": "ip4", "tcp6": "ip6"}[network]
	if !ok {
		return nil, fmt.Errorf("cannot dial %s: network %q is not tcp, tcp4 or tcp6", addr, network)
	}
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, fmt.Errorf("cannot dial %s: %w", addr, err)
	}
	timeout := d.Timeout
	if timeout == 0 {
		timeout = 30 * time.Second
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	addrs, err := d.resolve(ctx, want, host)
	if err != nil {
		return nil, err
	}
	return dialFirst(ctx, network, host, port, addrs)
}

// Transport returns an HTTP transport all of whose connections, redirects included, go through
// the dialer. It follows no proxy settings of the environment: a proxy would resolve by itself.
func (d *Dialer) Transport() *http.Transport {
	return &http.Transport{
		DialContext:           d.DialContext,
		ForceAttemptHTTP2:     true,
		MaxIdleConns:          100,
		IdleConnTimeout:       90 * time.Second,
		TLSHandshakeTimeout:   10 * time.Second,
		ExpectContinueTimeout: time.Second,
	}
}

// resolve returns the addresses of host that may be dialled, at least one.
func (d *Dialer) resolve(ctx context.Context, network, host string) ([]netip.Addr, error) {
	addrs, err := d.lookup(ctx, network, host)
	if err != nil {
		return nil, fmt.Errorf("cannot resolve %s: %w", host, err)
	}
	var open []netip.Addr
	var refusal error
	for _, a := range addrs {
		if err := d.check(host, a); err != nil {
			if refusal == nil {
				refusal = err
			}
			continue
		}
		open = append(open, a.Unmap())
	}
	if len(open) > 0 {
		return open[:min(len(open), maxAddresses)], nil
	}
	if refusal == nil {
		refusal = fmt.Errorf("cannot resolve %s: the name has no address", host)
	}
	return nil, refusal
}

func (d *Dialer) lookup(ctx context.Context, network, host string) ([]netip.Addr, error) {
	if a, err := netip.ParseAddr(host); err == nil {
		return []netip.Addr{a}, nil
	}
	r := d.Resolver
	if r == nil {
		r = net.DefaultResolver
	}
	return r.LookupNetIP(ctx, network, host)
}

// check reports whether addr may be dialled; host is only named in the error.
func (d *Dialer) check(host string, addr netip.Addr) error {
	plain := addr.Unmap()
	if covers(d.Deny, plain) {
		return fmt.Errorf("cannot dial %s: its address %s belongs to this install: %w", host, plain, ErrRefused)
	}
	why := class(addr)
	if why == "" || plain.Zone() == "" && covers(d.Allow, plain) {
		return nil
	}
	return fmt.Errorf("cannot dial %s: its address %s is %s; open it with --allow-dial %s: %w",
		host, plain, why, netip.PrefixFrom(plain.WithZone(""), plain.BitLen()), ErrRefused)
}

func covers(prefixes []netip.Prefix, a netip.Addr) bool {
	for _, p := range prefixes {
		if p.Contains(a.WithZone("")) {
			return true
		}
	}
	return false
}

func dialFirst(ctx context.Context, network, host, port string, addrs []netip.Addr) (net.Conn, error) {
	var errs []error
	for i, a := range addrs {
		attempt, cancel := share(ctx, len(addrs)-i)
		var nd net.Dialer
		conn, err := nd.DialContext(attempt, network, net.JoinHostPort(a.String(), port))
		cancel()
		if err == nil {
			return conn, nil
		}
		errs = append(errs, err)
		if ctx.Err() != nil {
			break
		}
	}
	return nil, fmt.Errorf("cannot dial %s: %w", host, errors.Join(errs...))
}

// share gives one of n attempts its part of the time that is left, at least 2 s.
func share(ctx context.Context, n int) (context.Context, context.CancelFunc) {
	deadline, ok := ctx.Deadline()
	if !ok || n <= 1 {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, max(time.Until(deadline)/time.Duration(n), 2*time.Second))
}
