package linux

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"

	"golang.org/x/sys/unix"

	"github.com/funade/funade/internal/vpc"
	"github.com/funade/funade/internal/vpc/linux/resolver"
)

// programNames starts, changes or stops the VPC's own resolver.
func (d *Dataplane) programNames(r *router, n *vpc.Network) error {
	at := resolverAddress(n)
	if r.dns != nil && (n.DNS == nil || r.dnsAt != at) {
		r.dns.Close()
		r.dns, r.zone = nil, nil
	}
	if n.DNS == nil {
		return nil
	}
	if r.dns == nil {
		c := d.resolver
		c.CacheSize, c.Private = resolverCache, n.Blocks
		dns, err := startResolver(r.ns, at, c)
		if err != nil {
			return err
		}
		r.dns, r.dnsAt = dns, at
		r.dns.SetNames(d.doorNames)
	}
	if r.zone != n.DNS {
		r.dns.SetZone(n.DNS.Names)
		r.zone = n.DNS
	}
	return nil
}

const resolverCache = 1024 // answers of upstreams that one VPC's resolver keeps

// startResolver serves names at an address of a namespace; its own questions leave from the host's.
func startResolver(ns *os.File, at netip.Addr, c resolver.Config) (*resolver.Resolver, error) {
	addr := netip.AddrPortFrom(at, 53)
	var packets net.PacketConn
	var streams net.Listener
	err := inNamespace(ns, func() error {
		f, err := bound(unix.SOCK_DGRAM, addr)
		if err != nil {
			return err
		}
		defer f.Close()
		if packets, err = net.FilePacketConn(f); err != nil {
			return err
		}
		g, err := bound(unix.SOCK_STREAM, addr)
		if err != nil {
			return err
		}
		defer g.Close()
		streams, err = net.FileListener(g)
		return err
	})
	if err != nil {
		if packets != nil {
			packets.Close()
		}
		return nil, fmt.Errorf("cannot listen on %v: %w", addr, err)
	}
	return resolver.Start(c, packets, streams), nil
}

// setDoorNames tells every resolver which names the install serves.
func (d *Dataplane) setDoorNames(serves func(string) bool) {
	d.doorNames = serves
	d.dns.SetNames(serves)
	for _, r := range d.routers {
		if r.dns != nil {
			r.dns.SetNames(serves)
		}
	}
}

// startResolvers begins to answer instances without interfaces in VPCs, and remembers how VPCs' resolvers are made.
func (d *Dataplane) startResolvers(c Config) (err error) {
	upstreams := resolver.Host(resolver.HostFile)
	if len(c.DNSUpstreams) > 0 {
		upstreams = resolver.Fixed(c.DNSUpstreams)
	}
	d.resolver = resolver.Config{Door: d.Door(), Install: d.Prefix(), Upstreams: upstreams, Logger: d.log}
	d.dns, err = startResolver(d.mgmtNS, d.Resolver(), d.resolver)
	return err
}

func (d *Dataplane) listenTCP(ctx context.Context, addr netip.AddrPort) (l net.Listener, err error) {
	err = d.pool.do(ctx, func() error {
		f, err := bound(unix.SOCK_STREAM, addr)
		if err != nil {
			return err
		}
		defer f.Close()
		l, err = net.FileListener(f)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("cannot listen on %v: %w", addr, err)
	}
	return l, nil
}
