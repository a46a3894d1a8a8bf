package registry_test

import (
	"cmp"
	"encoding/xml"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"
	"testing"
)

// Failures that may be: none over the files of the tests, maxServerFailures against a running server, whose content
// store is another. test/conformance/EXPECTED.md gives the reason of each one that is expected.
const maxServerFailures = 4

const conformanceModule = "github.com/opencontainers/distribution-spec/conformance"

// buildTool builds a command that test/conformance pins.
func buildTool(t *testing.T, dir, pkg string) string {
	t.Helper()
	binary := filepath.Join(dir, path.Base(pkg))
	build := exec.Command("go", "build", "-o", binary, pkg)
	build.Dir = "../../test/conformance"
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("cannot build %s: %v\n%s", pkg, err, out)
	}
	return binary
}

// TestConformance runs the OCI distribution-spec conformance suite, which is pinned in test/conformance.
func TestConformance(t *testing.T) {
	if testing.Short() {
		t.Skip("builds and runs the OCI suite: leave out -short")
	}
	dir := t.TempDir()
	binary := buildTool(t, dir, conformanceModule)
	env := append(os.Environ(), "OCI_RESULTS_DIR="+dir, "OCI_CONFIGURATION="+filepath.Join(dir, "config.yaml"))
	allowed := maxServerFailures
	if os.Getenv("OCI_REGISTRY") == "" {
		allowed = 0
		f := newFixture(t, nil)
		f.rows.Create(repo("conformance/repo1"), false)
		f.rows.Create(repo("conformance/repo2"), false)
		env = append(env, "OCI_REGISTRY="+f.host, "OCI_TLS=disabled", "OCI_USERNAME=AWS", "OCI_PASSWORD="+f.password)
	}
	if err := os.WriteFile(filepath.Join(dir, "config.yaml"), []byte("version: \""+cmp.Or(os.Getenv("OCI_VERSION"), "1.1")+"\"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	run := exec.Command(binary)
	run.Dir, run.Env = dir, env
	out, runErr := run.CombinedOutput()
	report, err := os.ReadFile(filepath.Join(dir, "junit.xml"))
	if err != nil {
		t.Fatalf("the suite left no report: %v (%v)\n%s", err, runErr, out)
	}
	var suites struct {
		Tests    int `xml:"tests,attr"`
		Failures int `xml:"failures,attr"`
		Errors   int `xml:"errors,attr"`
		Skipped  int `xml:"skipped,attr"`
		Disabled int `xml:"disabled,attr"`
	}
	if err := xml.Unmarshal(report, &suites); err != nil {
		t.Fatal(err)
	}
	t.Logf("%d tests, %d failed, %d skipped, %d disabled", suites.Tests, suites.Failures+suites.Errors, suites.Skipped, suites.Disabled)
	if suites.Tests < 800 || suites.Failures+suites.Errors > allowed {
		text := string(out)
		if i := strings.Index(text, "Configuration:"); i > 0 && len(text) > 60_000 {
			text = text[:60_000]
		}
		t.Errorf("%d of %d tests failed, at most %d may:\n%s", suites.Failures+suites.Errors, suites.Tests, allowed, text)
	}
}
