package ociimage

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/validate"
)

func TestBuild(t *testing.T) {
	program := filepath.Join(t.TempDir(), "program")
	if err := os.WriteFile(program, []byte("not really a program"), 0o755); err != nil {
		t.Fatal(err)
	}
	o := Options{Program: program, Args: []string{"serve"}, Env: []string{"A=1"}, Port: 8080, Architecture: "arm64", Padding: 1000}
	img, err := Build(o)
	if err != nil {
		t.Fatal(err)
	}
	cf, err := img.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := cf.Config.ExposedPorts["8080/tcp"]; !ok || cf.Architecture != "arm64" || cf.Config.Entrypoint[0] != "/app" || cf.Config.Cmd[0] != "serve" {
		t.Errorf("config %+v", cf)
	}
	again, err := Build(o)
	if err != nil {
		t.Fatal(err)
	}
	want, err := img.Digest()
	if err != nil {
		t.Fatal(err)
	}
	if got, err := again.Digest(); err != nil || got != want {
		t.Errorf("second build has digest %v, %v; want %v", got, err, want)
	}
	dir := t.TempDir()
	for format, to := range map[string]string{"docker": "d.tar", "layout": "l", "oci": "o.tar"} {
		if err := Write(img, format, filepath.Join(dir, to)); err != nil {
			t.Errorf("%s: %v", format, err)
		}
	}
	if _, err := tarball.ImageFromPath(filepath.Join(dir, "d.tar"), nil); err != nil {
		t.Error(err)
	}
	if p, err := layout.FromPath(filepath.Join(dir, "l")); err != nil {
		t.Error(err)
	} else if stored, err := p.Image(want); err != nil {
		t.Error(err)
	} else if err := validate.Image(stored); err != nil {
		t.Error(err)
	}
	if err := Write(img, "floppy", filepath.Join(dir, "x")); err == nil {
		t.Error("unknown format accepted")
	}
}
