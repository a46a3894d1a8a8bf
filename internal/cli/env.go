package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/funade/funade/internal/base/serverinfo"
)

type envCmd struct {
	Data      string `help:"Data directory." default:"/var/lib/funade" env:"FUNADE_DATA" type:"path" placeholder:"DIR"`
	Terraform bool   `help:"Print a provider block for Terraform." xor:"form"`
	Profile   string `help:"Write an AWS profile of this name instead of printing." placeholder:"NAME" xor:"form"`
}

// access is all that a client of an install needs.
type access struct {
	serverinfo.Info
	Key
	bundle string // "" when the server wrote none
	binDir string
}

// readAccess reads a data directory; it needs its owner's rights.
func readAccess(s *session, dataDir string) (*access, error) {
	info, err := serverinfo.Read(dataDir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("no server has run on %s; start one with funade server --data %s, or name another directory with --data", dataDir, dataDir)
	}
	if err != nil {
		return nil, err
	}
	key, err := s.Hooks.RootKey(dataDir)
	if err != nil {
		return nil, err
	}
	a := &access{Info: info, Key: key, bundle: bundlePath(dataDir), binDir: filepath.Join(dataDir, "bin")}
	if _, err := os.Stat(a.bundle); err != nil {
		fmt.Fprintf(s.Stderr, "funade: %s is missing, so AWS_CA_BUNDLE is left out; a running server writes it\n", a.bundle)
		a.bundle = ""
	}
	return a, nil
}

// Run prints export lines, a provider block, or writes a profile.
func (c *envCmd) Run(s *session) error {
	a, err := readAccess(s, c.Data)
	if err != nil {
		return err
	}
	switch {
	case c.Terraform:
		_, err = fmt.Fprint(s.Stdout, a.terraform())
		return err
	case c.Profile != "":
		return writeProfile(s, c.Profile, a)
	}
	if err := writeAWSWrapper(a.binDir); err != nil {
		return err
	}
	if os.Getenv("SUDO_UID") != "" && a.bundle != "" && !othersReach(a.bundle) {
		fmt.Fprintf(s.Stderr, "funade: other users cannot read %s; clients that run as you will not trust HTTPS\n", a.bundle)
	}
	_, err = fmt.Fprint(s.Stdout, a.exports())
	return err
}

// exports are lines for a POSIX shell.
func (a *access) exports() string {
	var b strings.Builder
	for _, v := range [][2]string{
		{"AWS_ENDPOINT_URL", a.API},
		{"AWS_ACCESS_KEY_ID", a.AccessKeyID},
		{"AWS_SECRET_ACCESS_KEY", a.SecretAccessKey},
		{"AWS_REGION", a.Region},
		{"AWS_DEFAULT_REGION", a.Region},
		{"AWS_CA_BUNDLE", a.bundle},
	} {
		if v[1] != "" {
			fmt.Fprintf(&b, "export %s=%s\n", v[0], shellQuote(v[1]))
		}
	}
	b.WriteString("unset AWS_SESSION_TOKEN\n")
	dir := shellQuote(a.binDir)
	fmt.Fprintf(&b, "case \":$PATH:\" in *:%s:*) ;; *) export PATH=%s:\"$PATH\" ;; esac\n", dir, dir)
	return b.String()
}

// shellQuote makes one word of a POSIX shell.
func shellQuote(s string) string {
	if s != "" && strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_./:@%+=-") == "" {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

// othersReach reports whether every user may read the file by its path.
func othersReach(path string) bool {
	st, err := os.Stat(path)
	if err != nil || st.Mode().Perm()&0o004 == 0 {
		return false
	}
	for dir := filepath.Dir(path); ; dir = filepath.Dir(dir) {
		st, err := os.Stat(dir)
		if err != nil || st.Mode().Perm()&0o001 == 0 {
			return false
		}
		if dir == filepath.Dir(dir) {
			return true
		}
	}
}

// terraformEndpoints are the served services as hashicorp/aws 5.x names them in endpoints{}.
var terraformEndpoints = []string{"apprunner", "ec2", "ecr", "ecrpublic", "iam", "logs", "sts"}

func (a *access) terraform() string {
	var b strings.Builder
	b.WriteString("provider \"aws\" {\n")
	fmt.Fprintf(&b, "  region     = %s\n  access_key = %s\n  secret_key = %s\n", hclQuote(a.Region), hclQuote(a.AccessKeyID), hclQuote(a.SecretAccessKey))
	if a.bundle != "" {
		fmt.Fprintf(&b, "\n  custom_ca_bundle = %s\n", hclQuote(a.bundle))
	}
	b.WriteString("\n  endpoints {\n")
	for _, name := range terraformEndpoints {
		fmt.Fprintf(&b, "    %-9s = %s\n", name, hclQuote(a.API))
	}
	b.WriteString("  }\n}\n")
	return b.String()
}

// hclQuote makes a string literal of Terraform's language.
func hclQuote(s string) string {
	r := strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`, "${", "$${", "%{", "%%{")
	return `"` + r.Replace(s) + `"`
}
