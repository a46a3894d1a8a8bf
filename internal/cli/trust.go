package cli

import (
	"context"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/funade/funade/internal/base/atomicfile"
	"github.com/funade/funade/internal/base/serverinfo"
)

type caCmd struct {
	Data string `help:"Data directory." default:"/var/lib/funade" env:"FUNADE_DATA" type:"path" placeholder:"DIR"`
}

// Run prints the certificate in PEM.
func (c *caCmd) Run(s *session) error {
	cert, err := readCA(c.Data)
	if err != nil {
		return err
	}
	_, err = s.Stdout.Write(cert)
	return err
}

// readCA reads the install's own root certificate.
func readCA(dataDir string) ([]byte, error) {
	data, err := os.ReadFile(filepath.Join(dataDir, "ca", "ca.pem"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("there is no certificate authority in %s; the first start of funade server --data %s makes one", dataDir, dataDir)
	}
	if err != nil {
		return nil, fmt.Errorf("cannot read the certificate authority: %w", err)
	}
	if block, _ := pem.Decode(data); block == nil || block.Type != "CERTIFICATE" {
		return nil, fmt.Errorf("cannot read the certificate authority: %s holds no certificate", dataDir)
	}
	return data, nil
}

type trustCmd struct {
	Data   string `help:"Data directory." default:"/var/lib/funade" env:"FUNADE_DATA" type:"path" placeholder:"DIR"`
	Remove bool   `help:"Stop trusting it."`
}

// anchors are the places and tools by which Linux distributions take additional authorities.
var anchors = []struct{ dir, tool string }{
	{"/usr/local/share/ca-certificates", "update-ca-certificates"}, // Debian, Ubuntu, Alpine
	{"/etc/pki/ca-trust/source/anchors", "update-ca-trust"},        // Fedora, RHEL
	{"/etc/ca-certificates/trust-source/anchors", "update-ca-trust"},
}

// Run installs the certificate into the system's store, or removes it.
func (c *trustCmd) Run(s *session) error {
	info, err := serverinfo.Read(c.Data)
	if err != nil {
		return err
	}
	name := "funade-" + info.InstallID + ".crt"
	for _, a := range anchors {
		tool, lookErr := exec.LookPath(a.tool)
		if st, err := os.Stat(a.dir); err != nil || !st.IsDir() || lookErr != nil {
			continue
		}
		return c.change(s, filepath.Join(a.dir, name), tool)
	}
	return errors.New("this system has neither update-ca-certificates nor update-ca-trust; install ca-certificates, or give clients the output of funade ca")
}

func (c *trustCmd) change(s *session, file, tool string) error {
	if c.Remove {
		if err := os.Remove(file); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("cannot remove %s: %w", file, err)
		}
	} else {
		cert, err := readCA(c.Data)
		if err != nil {
			return err
		}
		if err := atomicfile.Write(file, cert, 0o644); err != nil {
			return err
		}
	}
	if err := runTool(s.ctx, tool); err != nil {
		return err
	}
	verb := "trusts"
	if c.Remove {
		verb = "no longer trusts"
	}
	_, err := fmt.Fprintf(s.Stdout, "This machine %s the authority of %s. Browsers with a store of their own need the output of funade ca.\n", verb, c.Data)
	return err
}

func runTool(ctx context.Context, tool string) error {
	out, err := exec.CommandContext(ctx, tool).CombinedOutput()
	if err != nil {
		return fmt.Errorf("cannot run %s: %w: %s", tool, err, out)
	}
	return nil
}
