package cli

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/funade/funade/internal/base/serverinfo"
)

// packDir writes dir as a tar.gz.
func packDir(t *testing.T, dir, file string) {
	t.Helper()
	f, err := os.Create(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	zw := gzip.NewWriter(f)
	tw := tar.NewWriter(zw)
	if err := tw.AddFS(os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	if err := tw.Close(); err != nil {
		t.Fatal(err)
	}
	if err := zw.Close(); err != nil {
		t.Fatal(err)
	}
}

// dataDir makes a data directory as a server leaves it; its path needs quoting in a shell.
func dataDir(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "it's data")
	if err := os.MkdirAll(filepath.Join(dir, "ca"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(bundlePath(dir), []byte("certificates"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := serverinfo.Write(dir, serverinfo.Info{API: "http://127.0.0.1:4566", Region: "eu-west-1", InstallID: "0123abcd"}); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestEnvIsShell(t *testing.T) {
	dir := dataDir(t)
	code, out, errOut := run(t, "env", "--data", dir)
	if code != 0 {
		t.Fatalf("exit %d: %s", code, errOut)
	}
	script := out + out + `printf '%s\n' "$AWS_ENDPOINT_URL" "$AWS_ACCESS_KEY_ID" "$AWS_SECRET_ACCESS_KEY" "$AWS_REGION" "$AWS_DEFAULT_REGION" "$AWS_CA_BUNDLE" "$PATH"`
	cmd := exec.Command("/bin/sh", "-eu", "-c", script)
	cmd.Env = []string{"PATH=/usr/bin:/bin"}
	got, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, got)
	}
	want := strings.Join([]string{"http://127.0.0.1:4566", "AKIDEXAMPLE", "se'cret", "eu-west-1", "eu-west-1", bundlePath(dir), dir + "/bin:/usr/bin:/bin", ""}, "\n")
	if string(got) != want {
		t.Errorf("evaluated twice to\n%s\nwant\n%s", got, want)
	}
}

func TestEnvTerraform(t *testing.T) {
	code, out, errOut := run(t, "env", "--data", dataDir(t), "--terraform")
	if code != 0 {
		t.Fatalf("exit %d: %s", code, errOut)
	}
	for _, want := range []string{`provider "aws" {`, `apprunner = "http://127.0.0.1:4566"`, `ecrpublic = `, `logs      = `, `region     = "eu-west-1"`, `custom_ca_bundle = `} {
		if !strings.Contains(out, want) {
			t.Errorf("block lacks %q:\n%s", want, out)
		}
	}
}

func TestEnvWithoutServer(t *testing.T) {
	code, _, errOut := run(t, "env", "--data", t.TempDir())
	if code != 1 || !strings.Contains(errOut, "start one with funade server") {
		t.Errorf("exit %d, stderr %q", code, errOut)
	}
}

func TestProfileIsIdempotent(t *testing.T) {
	home := t.TempDir()
	t.Setenv("HOME", home)
	t.Setenv("SUDO_UID", "")
	t.Setenv("AWS_CONFIG_FILE", "")
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", "")
	configFile := filepath.Join(home, ".aws", "config")
	if err := os.MkdirAll(filepath.Dir(configFile), 0o700); err != nil {
		t.Fatal(err)
	}
	before := "# mine\n[default]\nregion = x\ns3 =\n  region = nested\n\n[profile funade]\nregion = old\noutput = json\n\n[profile other]\nregion = y\n"
	if err := os.WriteFile(configFile, []byte(before), 0o600); err != nil {
		t.Fatal(err)
	}
	data := dataDir(t)
	var first string
	for i := range 2 {
		if code, _, errOut := run(t, "env", "--data", data, "--profile", "funade"); code != 0 {
			t.Fatalf("exit %d: %s", code, errOut)
		}
		got, err := os.ReadFile(configFile)
		if err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			first = string(got)
		} else if string(got) != first {
			t.Errorf("second run changed the file to\n%s", got)
		}
	}
	want := "# mine\n[default]\nregion = x\ns3 =\n  region = nested\n\n[profile funade]\nregion = eu-west-1\noutput = json\nendpoint_url = http://127.0.0.1:4566\nca_bundle = " +
		bundlePath(data) + "\n\n[profile other]\nregion = y\n"
	if first != want {
		t.Errorf("config is\n%s\nwant\n%s", first, want)
	}
	credentials := filepath.Join(home, ".aws", "credentials")
	got, err := os.ReadFile(credentials)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != "[funade]\naws_access_key_id = AKIDEXAMPLE\naws_secret_access_key = se'cret\n" {
		t.Errorf("credentials are %q", got)
	}
	if st, err := os.Stat(credentials); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("credentials have mode %v, %v", st.Mode(), err)
	}
}

// fakeAWS writes an aws that reports a version, and otherwise its arguments and how often it was asked for it.
func fakeAWS(t *testing.T, version string) string {
	t.Helper()
	dir := t.TempDir()
	script := fmt.Sprintf("#!/bin/sh\nif [ \"$1\" = --version ]; then echo asked >>%s/asked; echo aws-cli/%s Python/3.11.2 Linux/6; exit; fi\necho \"$@\"\n", dir, version)
	if err := os.WriteFile(filepath.Join(dir, "aws"), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestAWSWrapper(t *testing.T) {
	const endpoint = "http://127.0.0.1:4566"
	for _, tc := range []struct {
		version string
		args    string
		env     string
		want    string
	}{
		{"2.9.19", "sts get-caller-identity", "AWS_ENDPOINT_URL=" + endpoint, "--endpoint-url " + endpoint + " sts get-caller-identity"},
		{"2.13.0", "sts get-caller-identity", "AWS_ENDPOINT_URL=" + endpoint, "sts get-caller-identity"},
		{"1.28.9", "s3 ls", "AWS_ENDPOINT_URL=" + endpoint, "--endpoint-url " + endpoint + " s3 ls"},
		{"1.45.11", "s3 ls", "AWS_ENDPOINT_URL=" + endpoint, "s3 ls"},
		{"3.0.0", "s3 ls", "AWS_ENDPOINT_URL=" + endpoint, "s3 ls"},
		{"2.9.19", "--endpoint-url http://other s3 ls", "AWS_ENDPOINT_URL=" + endpoint, "--endpoint-url http://other s3 ls"},
		{"2.9.19", "s3 ls --endpoint-url=http://other", "AWS_ENDPOINT_URL=" + endpoint, "s3 ls --endpoint-url=http://other"},
		{"2.9.19", "s3 ls", "UNRELATED=1", "s3 ls"},
	} {
		t.Run(tc.version+" "+tc.args, func(t *testing.T) {
			aws := fakeAWS(t, tc.version)
			one, two := filepath.Join(t.TempDir(), "bin"), filepath.Join(t.TempDir(), "bin")
			for _, dir := range []string{one, two} { // two installs, each with its copy
				if err := writeAWSWrapper(dir); err != nil {
					t.Fatal(err)
				}
			}
			home := t.TempDir()
			for range 2 {
				cmd := exec.Command(filepath.Join(one, "aws"), strings.Fields(tc.args)...)
				cmd.Env = []string{"PATH=" + strings.Join([]string{one, two, aws, "/usr/bin", "/bin"}, ":"), "HOME=" + home, tc.env}
				out, err := cmd.CombinedOutput()
				if err != nil || strings.TrimSpace(string(out)) != tc.want {
					t.Errorf("ran %q, %v; want %q", out, err, tc.want)
				}
			}
			if asked, err := os.ReadFile(filepath.Join(aws, "asked")); err == nil && strings.Count(string(asked), "asked") > 1 {
				t.Errorf("asked for the version %d times, want once", strings.Count(string(asked), "asked"))
			}
		})
	}
}

func TestAWSWrapperWithoutAWS(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "bin")
	if err := writeAWSWrapper(dir); err != nil {
		t.Fatal(err)
	}
	empty := t.TempDir()
	for _, tool := range []string{"dirname", "head", "grep", "sh"} {
		real, err := exec.LookPath(tool)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(real, filepath.Join(empty, tool)); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command(filepath.Join(dir, "aws"), "s3", "ls")
	cmd.Env = []string{"PATH=" + dir + ":" + empty}
	out, err := cmd.CombinedOutput()
	if err == nil || !strings.Contains(string(out), "no aws program in PATH") {
		t.Errorf("output %q, %v", out, err)
	}
}

func TestCAAndTrust(t *testing.T) {
	var calls []string
	var out, errOut bytes.Buffer
	p := &Program{Stdout: &out, Stderr: &errOut, Hooks: Hooks{
		RootCertificate: func(dir string) ([]byte, error) { return []byte("certificate of " + dir + "\n"), nil },
		Trust: func(_ context.Context, dir string, trusted bool) error {
			calls = append(calls, fmt.Sprint(dir, trusted))
			return nil
		},
	}}
	for _, args := range []string{"ca --data /x", "trust --data /x", "trust --data /x --remove"} {
		if code := p.Run(t.Context(), strings.Fields(args)); code != 0 {
			t.Fatalf("%s: exit %d: %s", args, code, &errOut)
		}
	}
	if !strings.HasPrefix(out.String(), "certificate of /x\n") || !slices.Equal(calls, []string{"/xtrue", "/xfalse"}) {
		t.Errorf("output %q, calls %v", &out, calls)
	}
}
