package terraform

import (
	_ "embed"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

//go:embed hosts.tf
var hostsConfiguration []byte

// TestHosts creates, changes, replaces and destroys private hosts; one that is replaced keeps its volume.
func TestHosts(t *testing.T) {
	t.Parallel()
	dir := plugins(t)
	server := start(t)
	shipImage(t, server)
	p := newProject(t, server, dir, hostsConfiguration)
	apply := func(stage string) (database, volume string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(p.dir, "terraform.tfvars"), fmt.Appendf(nil, "stage = %q\n", stage), 0o600); err != nil {
			t.Fatal(err)
		}
		p.must(t, "apply", "-input=false", "-no-color", "-auto-approve")
		p.unchanged(t, "in stage "+stage)
		return strings.TrimSpace(p.must(t, "output", "-raw", "database")), strings.TrimSpace(p.must(t, "output", "-raw", "volume"))
	}
	p.must(t, "init", "-input=false", "-no-color")
	before, volume := apply("one")
	after, same := apply("two")
	if before == after || !strings.HasSuffix(after, " 10.30.1.10") || volume != same || !strings.HasPrefix(volume, "vol-") {
		t.Errorf("%s with %s became %s with %s; want another instance with the same volume", before, volume, after, same)
	}
	p.must(t, "destroy", "-input=false", "-no-color", "-auto-approve")
}
