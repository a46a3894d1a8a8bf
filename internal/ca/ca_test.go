package ca

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

var start = time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)

func config(now *time.Time, domains ...string) Config {
	return Config{Install: "0a1b2c3d", Domains: domains, Now: func() time.Time { return *now }}
}

func mustOpen(t *testing.T, dir string, c Config) *Authority {
	t.Helper()
	a, err := Open(dir, c)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func hello(name string) *tls.ClientHelloInfo { return &tls.ClientHelloInfo{ServerName: name} }

func verify(a *Authority, leaf *x509.Certificate, name string, at time.Time) error {
	_, err := leaf.Verify(x509.VerifyOptions{Roots: a.Pool(), DNSName: name, CurrentTime: at})
	return err
}

func TestRoot(t *testing.T) {
	now := start
	dir := t.TempDir()
	a := mustOpen(t, dir, config(&now, "apps.localhost", "apps.internal"))
	root := a.root
	if root.Subject.CommonName != "Funade 0a1b2c3d CA" || !root.IsCA || !root.MaxPathLenZero || !root.PermittedDNSDomainsCritical {
		t.Errorf("root: %+v", root)
	}
	if info, err := os.Stat(filepath.Join(dir, keyFile)); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("key file: %v %v", info, err)
	}
	again := mustOpen(t, dir, config(&now, "apps.internal"))
	if !bytes.Equal(a.RootPEM(), again.RootPEM()) {
		t.Error("the root changed although it covers the names")
	}
	if got, err := ReadRoot(dir); err != nil || !bytes.Equal(got, a.RootPEM()) {
		t.Errorf("ReadRoot: %v", err)
	}
}

func TestCertificates(t *testing.T) {
	now := start
	a := mustOpen(t, t.TempDir(), config(&now, "apps.localhost", "apps.internal", "api.example.com"))
	for name, san := range map[string]string{
		"2rkq3vdw7n.us-east-1.apps.localhost": "*.us-east-1.apps.localhost",
		"X.us-east-1.apps.INTERNAL.":          "*.us-east-1.apps.internal",
		"x.apps.localhost":                    "*.apps.localhost",
		"apps.localhost":                      "apps.localhost",
		"other.localhost":                     "other.localhost",
		"api.example.com":                     "api.example.com",
		"localhost":                           "localhost",
		"":                                    "localhost",
	} {
		cert, err := a.Certificate(hello(name))
		if err != nil {
			t.Errorf("%q: %v", name, err)
			continue
		}
		if got := cert.Leaf.DNSNames; len(got) != 1 || got[0] != san {
			t.Errorf("%q: names %v, want %s", name, got, san)
		}
		if name == "" {
			name = "127.0.0.1"
		}
		if err := verify(a, cert.Leaf, name, now); err != nil {
			t.Errorf("%q: %v", name, err)
		}
		if life := cert.Leaf.NotAfter.Sub(cert.Leaf.NotBefore); life > 90*24*time.Hour {
			t.Errorf("%q lives %s", name, life)
		}
	}
	for _, name := range []string{"example.com", "www.example.com", "evilapps.internal", "apps.internal.evil.com", "*.apps.internal", "a b.apps.internal", strings.Repeat("a.", 130) + "apps.internal"} {
		if _, err := a.Certificate(hello(name)); err == nil {
			t.Errorf("%q was signed", name)
		}
	}
}

func TestLeavesAreSharedAndRenewed(t *testing.T) {
	now := start
	a := mustOpen(t, t.TempDir(), config(&now, "apps.localhost"))
	get := func(name string) *tls.Certificate {
		cert, err := a.Certificate(hello(name))
		if err != nil {
			t.Fatal(err)
		}
		return cert
	}
	first := get("a.us-east-1.apps.localhost")
	now = start.Add(19 * 24 * time.Hour)
	if get("b.us-east-1.apps.localhost") != first {
		t.Error("two names of one parent have two certificates")
	}
	now = start.Add(21 * 24 * time.Hour)
	renewed := get("a.us-east-1.apps.localhost")
	if renewed == first || !renewed.Leaf.NotAfter.After(first.Leaf.NotAfter) {
		t.Error("not renewed at two thirds of its life")
	}
	for i := range maxLeaves + 10 {
		get(fmt.Sprintf("x.r%d.apps.localhost", i))
	}
	if len(a.leaves) > maxLeaves {
		t.Errorf("%d certificates are kept", len(a.leaves))
	}
}

// A thief of the root's key must not be able to speak for names outside the install's.
func TestConstraintsHold(t *testing.T) {
	now := start
	a := mustOpen(t, t.TempDir(), config(&now, "apps.localhost"))
	for _, name := range []string{"www.google.com", "internal"} {
		l, err := a.sign(name, nil, now)
		if err != nil {
			t.Fatal(err)
		}
		if err := verify(a, l.cert.Leaf, name, now); err == nil {
			t.Errorf("%s verifies", name)
		}
	}
	l, err := a.sign("localhost", []netip.Addr{netip.MustParseAddr("8.8.8.8")}, now)
	if err != nil {
		t.Fatal(err)
	}
	if err := verify(a, l.cert.Leaf, "localhost", now); err == nil {
		t.Error("a foreign address verifies")
	}
}

func TestReplacement(t *testing.T) {
	now := start
	dir := t.TempDir()
	old := mustOpen(t, dir, config(&now, "apps.localhost"))
	var said bytes.Buffer
	c := config(&now, "apps.localhost", "apps.example.com")
	c.Logger = slog.New(slog.NewTextHandler(&said, nil))
	wider := mustOpen(t, dir, c)
	if bytes.Equal(old.RootPEM(), wider.RootPEM()) || !wider.coversName("x.apps.example.com") {
		t.Error("the root does not cover the new domain")
	}
	if bak, err := os.ReadFile(filepath.Join(dir, certFile+".bak")); err != nil || !bytes.Equal(bak, old.RootPEM()) {
		t.Errorf("the old root is not kept: %v", err)
	}
	if !strings.Contains(said.String(), "does not cover apps.example.com") {
		t.Errorf("nothing said: %s", said.String())
	}
	now = now.Add(rootLifetime - rootRenewal + time.Hour)
	if late := mustOpen(t, dir, c); bytes.Equal(late.RootPEM(), wider.RootPEM()) {
		t.Error("a root near its end is kept")
	}
}

func TestBrokenFolders(t *testing.T) {
	now := start
	dir := func(mend func(dir string)) string {
		d := t.TempDir()
		mustOpen(t, d, config(&now))
		mend(d)
		return d
	}
	other, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	otherDER, err := x509.MarshalECPrivateKey(other)
	if err != nil {
		t.Fatal(err)
	}
	write := func(d, name string, data []byte) {
		if err := os.WriteFile(filepath.Join(d, name), data, 0o600); err != nil {
			t.Error(err)
		}
	}
	for name, d := range map[string]string{
		"lost key": dir(func(d string) { _ = os.Remove(filepath.Join(d, keyFile)) }),
		"open key": dir(func(d string) { _ = os.Chmod(filepath.Join(d, keyFile), 0o644) }),
		"no PEM":   dir(func(d string) { write(d, keyFile, []byte("x")) }),
		"bad cert": dir(func(d string) { write(d, certFile, []byte("x")) }),
		"foreign": dir(func(d string) {
			write(d, keyFile, pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: otherDER}))
		}),
		"broken key": dir(func(d string) {
			write(d, keyFile, pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: []byte("x")}))
		}),
	} {
		if _, err := Open(d, config(&now)); err == nil {
			t.Errorf("%s: opened", name)
		}
	}
	for _, domain := range []string{"", "10.0.0.1", "a b", "*.apps.localhost"} {
		if _, err := Open(t.TempDir(), config(&now, domain)); err == nil {
			t.Errorf("domain %q was accepted", domain)
		}
	}
}

// TestOpenSSLAgrees asks an implementation that is not Go's; Debian's base system brings it with ca-certificates.
func TestOpenSSLAgrees(t *testing.T) {
	openssl, err := exec.LookPath("openssl")
	if err != nil {
		t.Fatal("openssl is needed: apt-get install openssl")
	}
	now := time.Now()
	dir := t.TempDir()
	a := mustOpen(t, dir, config(&now, "apps.localhost"))
	check := func(name string, certificate *tls.Certificate) error {
		path := filepath.Join(t.TempDir(), "leaf.pem")
		if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate.Certificate[0]}), 0o600); err != nil {
			t.Fatal(err)
		}
		out, err := exec.Command(openssl, "verify", "-purpose", "sslserver", "-CAfile", filepath.Join(dir, certFile), "-verify_hostname", name, path).CombinedOutput()
		if err != nil {
			return fmt.Errorf("%w: %s", err, out)
		}
		return nil
	}
	for _, name := range []string{"a.us-east-1.apps.localhost", "localhost"} {
		cert, err := a.Certificate(hello(name))
		if err != nil {
			t.Fatal(err)
		}
		if err := check(name, cert); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	foreign, err := a.sign("www.example.com", nil, now)
	if err != nil {
		t.Fatal(err)
	}
	if err := check("www.example.com", foreign.cert); err == nil {
		t.Error("openssl accepts a name outside the constraints")
	}
}

func TestServesTLS(t *testing.T) {
	now := time.Now()
	a := mustOpen(t, t.TempDir(), config(&now, "apps.localhost"))
	ln, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{GetCertificate: a.Certificate})
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok") })}
	go func() { _ = server.Serve(ln) }()
	defer server.Close()
	var d net.Dialer
	client := &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return d.DialContext(ctx, "tcp", ln.Addr().String())
		},
		TLSClientConfig: &tls.Config{RootCAs: a.Pool()},
	}}
	defer client.CloseIdleConnections()
	for _, url := range []string{"https://x.us-east-1.apps.localhost", "https://localhost", "https://127.0.0.1"} {
		res, err := client.Get(url)
		if err != nil {
			t.Errorf("%s: %v", url, err)
			continue
		}
		_ = res.Body.Close()
	}
	if _, err := client.Get("https://example.com"); err == nil {
		t.Error("example.com was answered")
	}
}

func TestBundle(t *testing.T) {
	now := start
	system := mustOpen(t, t.TempDir(), config(&now)).RootPEM()
	a := mustOpen(t, t.TempDir(), config(&now))
	once := a.Bundle(append([]byte("# comment\n"), system...))
	if n := bytes.Count(once, []byte("BEGIN CERTIFICATE")); n != 2 {
		t.Errorf("%d certificates", n)
	}
	if twice := a.Bundle(once); !bytes.Equal(once, twice) {
		t.Error("our root is there twice")
	}
	if pool := x509.NewCertPool(); !pool.AppendCertsFromPEM(once) {
		t.Error("the bundle holds no certificates")
	}
}

func TestTrustStore(t *testing.T) {
	dir := t.TempDir()
	ran := filepath.Join(t.TempDir(), "ran")
	store := TrustStore{Dir: dir, Update: []string{"sh", "-c", "echo >>" + ran}}
	runs := func() int {
		data, _ := os.ReadFile(ran)
		return bytes.Count(data, []byte("\n"))
	}
	root := []byte("root")
	for range 2 {
		if err := store.Install(t.Context(), "0a1b2c3d", root); err != nil {
			t.Fatal(err)
		}
	}
	path := filepath.Join(dir, "funade-0a1b2c3d.crt")
	if got, err := os.ReadFile(path); err != nil || !bytes.Equal(got, root) || runs() != 1 {
		t.Errorf("installed %q, %v; updates %d", got, err, runs())
	}
	for range 2 {
		if err := store.Remove(t.Context(), "0a1b2c3d"); err != nil {
			t.Fatal(err)
		}
	}
	if left, _ := os.ReadDir(dir); len(left) != 0 || runs() != 2 {
		t.Errorf("left %v; updates %d", left, runs())
	}
	broken := TrustStore{Dir: dir, Update: []string{"sh", "-c", "echo no rights; exit 1"}}
	err := broken.Install(t.Context(), "0a1b2c3d", root)
	if err == nil || !strings.Contains(err.Error(), "no rights") {
		t.Errorf("got %v", err)
	}
	if left, _ := os.ReadDir(dir); len(left) != 0 {
		t.Errorf("a failed installation leaves %v", left)
	}
}

func TestSystemBundleHoldsCertificates(t *testing.T) {
	system, err := SystemBundle()
	if err != nil {
		t.Fatal(err)
	}
	now := start
	a := mustOpen(t, t.TempDir(), config(&now))
	want := bytes.Count(system, []byte("BEGIN CERTIFICATE"))
	if bytes.Contains(system, bytes.TrimSpace(a.RootPEM())) {
		t.Error("the system trusts a root that was made just now")
	}
	if got := bytes.Count(a.Bundle(system), []byte("BEGIN CERTIFICATE")); got != want+1 {
		t.Errorf("%d certificates, want %d", got, want+1)
	}
}

func TestReadRootWithoutOne(t *testing.T) {
	if _, err := ReadRoot(t.TempDir()); !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), "has the server been started once") {
		t.Errorf("got %v", err)
	}
}
