// Package ca is an install's own certificate authority: a root that is limited by critical
// name constraints to the install's names, and short-lived server certificates made on
// demand. The private key of the root never leaves its file (0600); keys of leaves live in
// memory only.
package ca

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/funade/funade/internal/app"
	"github.com/funade/funade/internal/base/atomicfile"
)

// The files in the authority's folder.
const (
	certFile = "ca.crt"
	keyFile  = "ca.key"
)

const (
	rootLifetime = 10 * 365 * 24 * time.Hour
	// rootRenewal before its end a root is replaced at start.
	rootRenewal = 120 * 24 * time.Hour
	// leafLifetime is well under the 90 days that a leaf may last; leaves are renewed at two thirds.
	leafLifetime = 30 * 24 * time.Hour
	// skew is how far a client's clock may be behind.
	skew = time.Hour
)

// Config says for what an authority may sign.
type Config struct {
	// Install is in the root's name.
	Install app.InstallID
	// Domains are DNS names; each stands for itself and every name below it. localhost and the
	// loopback addresses are always included.
	Domains []string
	// Addresses are further addresses that may be signed for, as prefixes.
	Addresses []netip.Prefix
	// Now is time.Now when nil. Logger says when a root is replaced; nil discards.
	Now    func() time.Time
	Logger *slog.Logger
}

// Authority signs server certificates. Its methods are safe for concurrent use.
type Authority struct {
	now     func() time.Time
	root    *x509.Certificate
	key     *ecdsa.PrivateKey
	leafKey *ecdsa.PrivateKey
	rootPEM []byte

	mu     sync.Mutex
	leaves map[string]*leaf
}

var loopback = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")}

// Open loads the authority in dir, or makes one at first start. A root that does not cover the
// configured names, or that ends soon, is replaced; the old files stay beside as .bak, and the
// replacement is logged, because clients that trusted the old root must trust the new one.
func Open(dir string, c Config) (*Authority, error) {
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	domains, err := cleanDomains(c.Domains)
	if err != nil {
		return nil, err
	}
	c.Domains, c.Addresses = domains, append(append([]netip.Prefix(nil), loopback...), c.Addresses...)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("cannot make the folder of the certificate authority: %w", err)
	}
	a, err := load(dir)
	switch {
	case errors.Is(err, os.ErrNotExist):
		a, err = create(dir, c)
	case err == nil:
		if why := a.unfit(c); why != "" {
			c.Logger.Warn("the root certificate is replaced: clients must trust the new one (funade trust)", "reason", why, "old", filepath.Join(dir, certFile+".bak"))
			a, err = replace(dir, c)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("cannot open the certificate authority: %w", err)
	}
	a.now, a.leaves = c.Now, map[string]*leaf{}
	if a.leafKey, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		return nil, fmt.Errorf("cannot make a key for certificates: %w", err)
	}
	return a, nil
}

// ReadRoot returns the root certificate in dir as PEM, without the need for its key.
func ReadRoot(dir string) ([]byte, error) {
	data, err := os.ReadFile(filepath.Join(dir, certFile))
	if err != nil {
		return nil, fmt.Errorf("cannot read the root certificate (has the server been started once?): %w", err)
	}
	if _, err := parseCertificate(data); err != nil {
		return nil, fmt.Errorf("cannot read the root certificate %s: %w", filepath.Join(dir, certFile), err)
	}
	return data, nil
}

// RootPEM returns the root certificate.
func (a *Authority) RootPEM() []byte { return append([]byte(nil), a.rootPEM...) }

// Pool returns a pool that trusts only this authority.
func (a *Authority) Pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(a.root)
	return pool
}

func cleanDomains(in []string) ([]string, error) {
	out := []string{"localhost"}
	for _, d := range in {
		d = strings.ToLower(strings.Trim(d, "."))
		if _, err := netip.ParseAddr(d); err == nil || !validName(d) {
			return nil, fmt.Errorf("cannot sign for the domain %q: it is not a DNS name; give one like apps.localhost", d)
		}
		out = append(out, d)
	}
	return out, nil
}

func load(dir string) (*Authority, error) {
	certPEM, err := os.ReadFile(filepath.Join(dir, certFile))
	if err != nil {
		return nil, err
	}
	path := filepath.Join(dir, keyFile)
	info, err := os.Stat(path)
	if err != nil { // not ErrNotExist: a lost key must not lead to a new root in silence
		return nil, fmt.Errorf("the root's key cannot be read: %v: restore it, or move %s away to make a new authority", err, certFile)
	}
	if info.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("%s is open to other users (mode %04o): run chmod 600 on it", path, info.Mode().Perm())
	}
	keyPEM, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	cert, err := parseCertificate(certPEM)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", filepath.Join(dir, certFile), err)
	}
	block, _ := pem.Decode(keyPEM)
	if block == nil {
		return nil, fmt.Errorf("%s holds no PEM block", path)
	}
	key, err := x509.ParseECPrivateKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("%s holds no EC private key", path)
	}
	if !key.PublicKey.Equal(cert.PublicKey) {
		return nil, fmt.Errorf("%s and %s do not belong together: restore both from one backup, or move both away to make a new authority", certFile, keyFile)
	}
	return &Authority{root: cert, key: key, rootPEM: certPEM}, nil
}

func parseCertificate(data []byte) (*x509.Certificate, error) {
	block, _ := pem.Decode(data)
	if block == nil || block.Type != "CERTIFICATE" {
		return nil, errors.New("it holds no PEM certificate")
	}
	return x509.ParseCertificate(block.Bytes)
}

// create makes a root and writes key and certificate, in this order: a crash between leaves a key
// without a certificate, which the next start overwrites.
func create(dir string, c Config) (*Authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	now := c.Now()
	template := &x509.Certificate{
		SerialNumber:                serial(),
		Subject:                     pkix.Name{CommonName: "Funade " + string(c.Install) + " CA", Organization: []string{"Funade"}},
		NotBefore:                   now.Add(-skew),
		NotAfter:                    now.Add(rootLifetime),
		KeyUsage:                    x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		ExtKeyUsage:                 []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid:       true,
		IsCA:                        true,
		MaxPathLenZero:              true,
		PermittedDNSDomainsCritical: true,
		PermittedDNSDomains:         c.Domains,
		PermittedIPRanges:           ipNets(c.Addresses),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return nil, err
	}
	keyDER, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return nil, err
	}
	if err := atomicfile.Write(filepath.Join(dir, keyFile), pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: keyDER}), 0o600); err != nil {
		return nil, err
	}
	certPEM := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	if err := atomicfile.Write(filepath.Join(dir, certFile), certPEM, 0o644); err != nil {
		return nil, err
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	return &Authority{root: cert, key: key, rootPEM: certPEM}, nil
}

// replace moves the files to .bak, the certificate first, and makes a new root.
func replace(dir string, c Config) (*Authority, error) {
	for _, name := range []string{certFile, keyFile} {
		path := filepath.Join(dir, name)
		if err := os.Rename(path, path+".bak"); err != nil {
			return nil, err
		}
	}
	return create(dir, c)
}

// unfit says why the root cannot serve c; "" = it can.
func (a *Authority) unfit(c Config) string {
	for _, d := range c.Domains {
		if !a.coversName(d) {
			return "it does not cover " + d
		}
	}
	for _, p := range c.Addresses {
		if !a.coversPrefix(p.Masked()) {
			return "it does not cover " + p.String()
		}
	}
	if c.Now().After(a.root.NotAfter.Add(-rootRenewal)) {
		return "it ends on " + a.root.NotAfter.Format(time.DateOnly)
	}
	return ""
}

func (a *Authority) coversName(name string) bool {
	for _, d := range a.root.PermittedDNSDomains {
		d = strings.TrimPrefix(d, ".")
		if name == d || strings.HasSuffix(name, "."+d) {
			return true
		}
	}
	return false
}

func (a *Authority) coversPrefix(p netip.Prefix) bool {
	for _, n := range a.root.PermittedIPRanges {
		addr, ok := netip.AddrFromSlice(n.IP)
		ones, _ := n.Mask.Size()
		if ok && ones <= p.Bits() && netip.PrefixFrom(addr, ones).Contains(p.Addr()) {
			return true
		}
	}
	return false
}

func ipNets(prefixes []netip.Prefix) []*net.IPNet {
	var out []*net.IPNet
	for _, p := range prefixes {
		p = p.Masked()
		out = append(out, &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())})
	}
	return out
}

// serial returns 127 random bits.
func serial() *big.Int {
	n, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		panic("ca: no random bytes: " + err.Error())
	}
	return n
}
