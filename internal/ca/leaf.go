package ca

import (
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"time"
)

// maxLeaves bounds the certificates in memory: clients choose the names.
const maxLeaves = 1024

type leaf struct {
	cert  *tls.Certificate
	renew time.Time
}

// Certificate answers a client's hello; it fits tls.Config.GetCertificate. One certificate serves
// all names with the same parent. Without a server name, or for localhost, it is one for
// localhost, 127.0.0.1, ::1 and the address that the client connected to. Names and addresses
// that the root does not cover are an error.
func (a *Authority) Certificate(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	name := strings.ToLower(strings.TrimSuffix(hello.ServerName, "."))
	if name == "" || name == "localhost" {
		return a.local(hello.Conn)
	}
	if !validName(name) || !a.coversName(name) {
		return nil, fmt.Errorf("cannot make a certificate for %.255q: the name is none of this install's", name)
	}
	return a.leaf(signedName(name, a.coversName), nil)
}

// local returns the certificate for clients on this machine.
func (a *Authority) local(conn net.Conn) (*tls.Certificate, error) {
	addrs := []netip.Addr{netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("::1")}
	if conn != nil {
		if tcp, ok := conn.LocalAddr().(*net.TCPAddr); ok {
			at := tcp.AddrPort().Addr().Unmap().WithZone("")
			if at != addrs[0] && at != addrs[1] && a.coversPrefix(netip.PrefixFrom(at, at.BitLen())) {
				addrs = append(addrs, at)
			}
		}
	}
	return a.leaf("localhost", addrs)
}

// signedName is the name in the certificate for a host: a wildcard for its parent where clients
// accept one (the parent has two labels or more), the host itself otherwise.
func signedName(host string, covered func(string) bool) string {
	_, parent, _ := strings.Cut(host, ".")
	if strings.Contains(parent, ".") && covered(parent) {
		return "*." + parent
	}
	return host
}

func (a *Authority) leaf(name string, addrs []netip.Addr) (*tls.Certificate, error) {
	key := name
	for _, addr := range addrs {
		key += " " + addr.String()
	}
	now := a.now()
	a.mu.Lock()
	defer a.mu.Unlock()
	if l := a.leaves[key]; l != nil && now.Before(l.renew) {
		return l.cert, nil
	}
	l, err := a.sign(name, addrs, now)
	if err != nil {
		return nil, err
	}
	for old := range a.leaves { // any one goes: they are cheap to make again
		if len(a.leaves) < maxLeaves {
			break
		}
		delete(a.leaves, old)
	}
	a.leaves[key] = l
	return l.cert, nil
}

func (a *Authority) sign(name string, addrs []netip.Addr, now time.Time) (*leaf, error) {
	template := &x509.Certificate{
		SerialNumber:          serial(),
		Subject:               pkix.Name{Organization: []string{"Funade"}},
		NotBefore:             now.Add(-skew),
		NotAfter:              now.Add(leafLifetime),
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true,
		DNSNames:              []string{name},
	}
	for _, addr := range addrs {
		template.IPAddresses = append(template.IPAddresses, addr.AsSlice())
	}
	if template.NotAfter.After(a.root.NotAfter) {
		template.NotAfter = a.root.NotAfter
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.root, &a.leafKey.PublicKey, a.key)
	if err != nil {
		return nil, fmt.Errorf("cannot sign a certificate for %s: %w", name, err)
	}
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("cannot sign a certificate for %s: %w", name, err)
	}
	return &leaf{
		cert:  &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: a.leafKey, Leaf: parsed},
		renew: now.Add(template.NotAfter.Sub(now) * 2 / 3),
	}, nil
}

// validName accepts host names of letters, digits, dashes and underscores, in lower case.
func validName(name string) bool {
	if name == "" || len(name) > 253 {
		return false
	}
	for label := range strings.SplitSeq(name, ".") {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
		for i := range len(label) {
			b := label[i]
			if (b < 'a' || b > 'z') && (b < '0' || b > '9') && b != '-' && b != '_' {
				return false
			}
		}
	}
	return true
}
