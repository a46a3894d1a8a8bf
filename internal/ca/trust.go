package ca

import (
	"bytes"
	"context"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/funade/funade/internal/app"
	"github.com/funade/funade/internal/base/atomicfile"
)

// systemBundles are the places where distributions keep all trusted roots in one file.
var systemBundles = []string{
	"/etc/ssl/certs/ca-certificates.crt",
	"/etc/pki/tls/certs/ca-bundle.crt",
	"/etc/ssl/ca-bundle.pem",
	"/etc/ssl/cert.pem",
}

// SystemBundle returns the system's trusted roots as PEM; nothing when the system has none.
func SystemBundle() ([]byte, error) {
	for _, path := range systemBundles {
		data, err := os.ReadFile(path)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("cannot read the system's certificates: %w", err)
		}
		return data, nil
	}
	return nil, nil
}

// Bundle returns system's roots with root after them, once: a root that `funade trust` installed
// is not repeated.
func Bundle(system, root []byte) []byte {
	ours, _ := pem.Decode(root)
	var out bytes.Buffer
	for rest := system; ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		if block.Type == "CERTIFICATE" && (ours == nil || !bytes.Equal(block.Bytes, ours.Bytes)) {
			out.Write(pem.EncodeToMemory(&pem.Block{Type: block.Type, Bytes: block.Bytes}))
		}
	}
	out.Write(root)
	return out.Bytes()
}

// Bundle returns system's roots with the authority's own after them.
func (a *Authority) Bundle(system []byte) []byte { return Bundle(system, a.rootPEM) }

// TrustStore is where a system takes its administrator's own roots from.
type TrustStore struct {
	// Dir holds one .crt file per root; Update is the program, with arguments, that takes them over.
	Dir    string
	Update []string
}

// SystemTrustStore finds this system's trust store.
func SystemTrustStore() (TrustStore, error) {
	for _, s := range []TrustStore{
		{"/usr/local/share/ca-certificates", []string{"update-ca-certificates"}},
		{"/etc/pki/ca-trust/source/anchors", []string{"update-ca-trust"}},
	} {
		if info, err := os.Stat(s.Dir); err == nil && info.IsDir() {
			if _, err := exec.LookPath(s.Update[0]); err == nil {
				return s, nil
			}
		}
	}
	return TrustStore{}, errors.New("cannot find the system's trust store: neither update-ca-certificates (Debian: install ca-certificates) nor update-ca-trust is there")
}

func (s TrustStore) path(install app.InstallID) string {
	return filepath.Join(s.Dir, "funade-"+string(install)+".crt")
}

// Install makes the system trust an install's root. Again changes nothing. It needs root's rights.
func (s TrustStore) Install(ctx context.Context, install app.InstallID, root []byte) error {
	path := s.path(install)
	if old, err := os.ReadFile(path); err == nil && bytes.Equal(old, root) {
		return nil
	}
	if err := atomicfile.Write(path, root, 0o644); err != nil {
		return fmt.Errorf("cannot install the root certificate: %w", err)
	}
	if err := s.update(ctx); err != nil {
		return fmt.Errorf("cannot install the root certificate: %w", errors.Join(err, os.Remove(path)))
	}
	return nil
}

// Remove ends that trust. A root that is not installed is fine.
func (s TrustStore) Remove(ctx context.Context, install app.InstallID) error {
	err := os.Remove(s.path(install))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("cannot remove the root certificate: %w", err)
	}
	if err := s.update(ctx); err != nil {
		return fmt.Errorf("cannot remove the root certificate: %w", err)
	}
	return nil
}

func (s TrustStore) update(ctx context.Context) error {
	cmd := exec.CommandContext(ctx, s.Update[0], s.Update[1:]...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s: %w: %.500s", strings.Join(s.Update, " "), err, bytes.TrimSpace(out))
	}
	return nil
}
