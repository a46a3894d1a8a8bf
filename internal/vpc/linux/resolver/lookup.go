package resolver

import (
	"context"
	"fmt"
	"net"
	"net/netip"

	"github.com/miekg/dns"
)

// Lookup asks a resolver for the IPv4 addresses of a name, over UDP and, when the answer does not fit, over TCP. dial
// connects to it. A name without addresses is a *net.DNSError with IsNotFound.
func Lookup(ctx context.Context, name string, dial func(network string) (net.Conn, error)) ([]netip.Addr, error) {
	if _, ok := dns.IsDomainName(name); !ok || name == "" {
		return nil, &net.DNSError{Err: "not a domain name", Name: name, IsNotFound: true}
	}
	for _, network := range []string{"udp", "tcp"} {
		m, err := lookupOnce(ctx, name, network, dial)
		if err != nil {
			return nil, err
		}
		if m.Truncated && network == "udp" {
			continue
		}
		if m.Rcode != dns.RcodeSuccess && m.Rcode != dns.RcodeNameError {
			return nil, fmt.Errorf("the resolver answers %s", dns.RcodeToString[m.Rcode])
		}
		var out []netip.Addr
		for _, rr := range m.Answer {
			if a, ok := rr.(*dns.A); ok {
				if addr, ok := netip.AddrFromSlice(a.A.To4()); ok {
					out = append(out, addr)
				}
			}
		}
		if len(out) == 0 {
			return nil, &net.DNSError{Err: "no such host", Name: name, IsNotFound: true}
		}
		return out, nil
	}
	return nil, fmt.Errorf("the resolver's answer does not fit")
}

func lookupOnce(ctx context.Context, name, network string, dial func(string) (net.Conn, error)) (*dns.Msg, error) {
	conn, err := dial(network)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	q := new(dns.Msg).SetQuestion(dns.Fqdn(name), dns.TypeA)
	q.SetEdns0(maxUDP, false)
	client := dns.Client{Net: network, Timeout: answerTimeout, UDPSize: maxUDP}
	stop := context.AfterFunc(ctx, func() { conn.Close() }) // a cancelled context ends the wait for an answer
	defer stop()
	m, _, err := client.ExchangeWithConnContext(ctx, q, &dns.Conn{Conn: conn, UDPSize: maxUDP})
	if ctx.Err() != nil && err != nil {
		return nil, ctx.Err()
	}
	return m, err
}
