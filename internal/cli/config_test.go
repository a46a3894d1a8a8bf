package cli

import (
	"bytes"
	"context"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// serve runs funade server with args and returns the configuration that reached Serve.
func serve(t *testing.T, args ...string) (ServerConfig, int, string) {
	t.Helper()
	var got ServerConfig
	var out, errOut bytes.Buffer
	p := &Program{Stdout: &out, Stderr: &errOut, Hooks: Hooks{Serve: func(_ context.Context, c ServerConfig) error {
		got = c
		return nil
	}}}
	code := p.Run(t.Context(), append([]string{"server"}, args...))
	return got, code, errOut.String()
}

func TestServerDefaults(t *testing.T) {
	c, code, stderr := serve(t)
	if code != 0 {
		t.Fatalf("exit %d: %s", code, stderr)
	}
	if c.API != "127.0.0.1:4566" || c.HTTP != "127.0.0.1:80" || c.HTTPS != "127.0.0.1:443" || c.Data != "/var/lib/funade" ||
		c.Domain != "apps.localhost" || c.Account != "000000000000" || c.Region != "us-east-1" {
		t.Errorf("defaults are %+v", c)
	}
}

func TestServerPrecedence(t *testing.T) {
	file := filepath.Join(t.TempDir(), "funade.yaml")
	content := "domain: file.localhost\nregion: eu-west-1\naccount: 012345678901\nhttp: 127.0.0.1:8080\ndns: [127.0.0.53, \"9.9.9.9:5353\"]\ndefault-egress-allow:\n  - 10.0.0.0/8\n"
	if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("FUNADE_REGION", "eu-west-2")
	t.Setenv("FUNADE_HTTP", "127.0.0.1:8081")
	c, code, stderr := serve(t, "--config", file, "--http", "127.0.0.1:8082")
	if code != 0 {
		t.Fatalf("exit %d: %s", code, stderr)
	}
	if c.Domain != "file.localhost" {
		t.Errorf("domain %q, want the file's over the default", c.Domain)
	}
	if c.Account != "012345678901" {
		t.Errorf("account %q, want the digits as written", c.Account)
	}
	if c.Region != "eu-west-2" {
		t.Errorf("region %q, want the environment's over the file's", c.Region)
	}
	if c.HTTP != "127.0.0.1:8082" {
		t.Errorf("http %q, want the flag's over the environment's", c.HTTP)
	}
	if len(c.DNS) != 2 || c.DNS[1] != "9.9.9.9:5353" {
		t.Errorf("dns %v", c.DNS)
	}
	if len(c.DefaultEgressAllow) != 1 || c.DefaultEgressAllow[0] != netip.MustParsePrefix("10.0.0.0/8") {
		t.Errorf("default-egress-allow %v", c.DefaultEgressAllow)
	}
}

func TestServerConfigFromEnvironment(t *testing.T) {
	file := filepath.Join(t.TempDir(), "funade.yaml")
	if err := os.WriteFile(file, []byte("domain: file.localhost\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("FUNADE_CONFIG", file)
	if c, code, stderr := serve(t); code != 0 || c.Domain != "file.localhost" {
		t.Errorf("exit %d, domain %q: %s", code, c.Domain, stderr)
	}
}

func TestServerRefuses(t *testing.T) {
	for name, tc := range map[string]struct {
		args []string
		want []string
	}{
		"address":       {[]string{"--api", "4566"}, []string{"--api 4566", "give HOST:PORT"}},
		"host":          {[]string{"--https", "example.com:443"}, []string{"--https", "give an IP address or localhost"}},
		"port":          {[]string{"--http", "127.0.0.1:70000"}, []string{"--http", "0 to 65535"}},
		"account":       {[]string{"--account", "12"}, []string{"--account 12", "12 digits"}},
		"region":        {[]string{"--region", "Earth"}, []string{"--region Earth", "eu-central-1"}},
		"domain":        {[]string{"--domain", "Apps..localhost"}, []string{"--domain", "DNS name"}},
		"public api":    {[]string{"--public-api", "ftp://x"}, []string{"--public-api", "https://"}},
		"dns":           {[]string{"--dns", "one.example"}, []string{"--dns", "IP address"}},
		"cidr":          {[]string{"--allow-dial", "10.0.0.0"}, []string{"--allow-dial"}},
		"size":          {[]string{"--logs-max-bytes", "5 apples"}, []string{"--logs-max-bytes", "512MiB"}},
		"small":         {[]string{"--logs-max-bytes", "1MiB"}, []string{"--logs-max-bytes 1MiB", "at least 16MiB"}},
		"small total":   {[]string{"--upload-total-bytes", "1GiB"}, []string{"--upload-total-bytes 1GiB", "at least --upload-max-bytes"}},
		"no services":   {[]string{"--max-services", "0"}, []string{"--max-services 0", "1 to 100000"}},
		"several":       {[]string{"--account", "1", "--region", "x"}, []string{"--account 1", "--region x"}},
		"unknown flag":  {[]string{"--frobnicate"}, []string{"frobnicate"}},
		"missing file":  {[]string{"--config", "/nonexistent/funade.yaml"}, []string{"cannot read configuration file"}},
		"too few sess.": {[]string{"--upload-sessions", "0"}, []string{"--upload-sessions 0", "1 to 10000"}},
	} {
		t.Run(name, func(t *testing.T) {
			_, code, stderr := serve(t, tc.args...)
			if code == 0 {
				t.Fatal("accepted")
			}
			for _, want := range tc.want {
				if !strings.Contains(stderr, want) {
					t.Errorf("stderr %q lacks %q", stderr, want)
				}
			}
		})
	}
}

func TestConfigFileRefusesUnknownKeys(t *testing.T) {
	for content, want := range map[string]string{
		"portt: 1\n":           `unknown key "portt"`,
		"domain: {a: b}\n":     "line 1",
		"config: other.yaml\n": `unknown key "config"`,
		"- a\n":                "cannot",
		"account: \"x\"\n":     "--account x",
	} {
		file := filepath.Join(t.TempDir(), "funade.yaml")
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, code, stderr := serve(t, "--config", file); code == 0 || !strings.Contains(stderr, want) {
			t.Errorf("file %q: exit %d, stderr %q, want %q in it", content, code, stderr, want)
		}
	}
}

func TestByteSize(t *testing.T) {
	for text, want := range map[string]ByteSize{"0": 0, "10": 10, "1KiB": 1024, "2MiB": 2 << 20, "3 GiB": 3 << 30, "1TB": 1e12, "5B": 5} {
		var b ByteSize
		if err := b.UnmarshalText([]byte(text)); err != nil || b != want {
			t.Errorf("%q: %d, %v; want %d", text, b, err, want)
		}
	}
	for _, text := range []string{"", "-1", "1.5GiB", "9223372036854775807TiB", "MiB"} {
		var b ByteSize
		if err := b.UnmarshalText([]byte(text)); err == nil {
			t.Errorf("%q accepted as %d", text, b)
		}
	}
}

func FuzzByteSize(f *testing.F) {
	f.Add("10GiB")
	f.Add("1 kB")
	f.Fuzz(func(t *testing.T, s string) {
		var b, again ByteSize
		if b.UnmarshalText([]byte(s)) != nil {
			return
		}
		if b < 0 {
			t.Fatalf("%q: negative %d", s, b)
		}
		if err := again.UnmarshalText([]byte(b.String())); err != nil || again != b {
			t.Fatalf("%q: %d reads back as %d, %v", s, b, again, err)
		}
	})
}
