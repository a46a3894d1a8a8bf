package registry_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/partial"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/funade/funade/internal/registry"
)

// ref names an image of the fixture's registry as a client on this machine would.
func (f *fixture) ref(t *testing.T, text string) name.Reference {
	t.Helper()
	ref, err := name.ParseReference(f.host+"/"+text, name.Insecure)
	if err != nil {
		t.Fatal(err)
	}
	return ref
}

func (f *fixture) auth() remote.Option {
	return remote.WithAuth(&authn.Basic{Username: "AWS", Password: f.password})
}

func randomImage(t *testing.T) v1.Image {
	t.Helper()
	img, err := random.Image(4096, 3)
	if err != nil {
		t.Fatal(err)
	}
	return img
}

func digestOf(t *testing.T, d partial.WithRawManifest) v1.Hash {
	t.Helper()
	h, err := partial.Digest(d)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// TestGoContainerRegistry pushes, pulls, mounts, lists and refers with crane's library, in both flows of authentication.
func TestGoContainerRegistry(t *testing.T) {
	for _, bearer := range []bool{false, true} {
		t.Run(fmt.Sprintf("bearer=%v", bearer), func(t *testing.T) {
			f := newFixture(t, func(c *registry.Config) { c.Bearer = bearer })
			f.rows.Create(repo("hello"), false)
			f.rows.Create(repo("team/other"), false)
			img := randomImage(t)
			if err := remote.Write(f.ref(t, "hello:v1"), img, f.auth()); err != nil {
				t.Fatal(err)
			}
			aws := scope.RegistryHost() + "/hello:v1" // the other name of the same repository
			got, err := remote.Image(f.ref(t, aws), f.auth())
			if err != nil {
				t.Fatal(err)
			}
			if digestOf(t, got) != digestOf(t, img) {
				t.Errorf("pulled %s, pushed %s", digestOf(t, got), digestOf(t, img))
			}
			if err := remote.Write(f.ref(t, "team/other:v1"), got, f.auth()); err != nil { // mounts the layers
				t.Fatal(err)
			}
			checkIndexAndReferrers(t, f, img)
			tags, err := remote.List(f.ref(t, "hello").Context(), f.auth())
			if err != nil || !slices.Equal(tags, []string{"all", "signed", "v1"}) {
				t.Errorf("tags are %v, %v", tags, err)
			}
			registryName, err := name.NewRegistry(f.host, name.Insecure)
			if err != nil {
				t.Fatal(err)
			}
			names, err := remote.Catalog(t.Context(), registryName, f.auth())
			if err != nil || !slices.Equal(names, []string{"hello", "team/other"}) {
				t.Errorf("catalog is %v, %v", names, err)
			}
			if err := remote.Delete(f.ref(t, "hello:v1"), f.auth()); err != nil {
				t.Error(err)
			}
			if _, err := remote.Head(f.ref(t, "hello:v1"), f.auth()); err == nil {
				t.Error("the deleted tag still answers")
			}
			err = remote.Write(f.ref(t, "absent:v1"), img, f.auth())
			if err == nil || !strings.Contains(err.Error(), "aws ecr create-repository") {
				t.Errorf("a push to an absent repository failed with %v, want the remedy", err)
			}
		})
	}
}

func checkIndexAndReferrers(t *testing.T, f *fixture, img v1.Image) {
	t.Helper()
	index, err := random.Index(1024, 2, 2)
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.WriteIndex(f.ref(t, "hello:all"), index, f.auth()); err != nil {
		t.Fatal(err)
	}
	subject, err := partial.Descriptor(img)
	if err != nil {
		t.Fatal(err)
	}
	signature := mutate.Subject(randomImage(t), *subject).(v1.Image)
	if err := remote.Write(f.ref(t, "hello:signed"), signature, f.auth()); err != nil {
		t.Fatal(err)
	}
	found, err := remote.Referrers(f.ref(t, "hello").Context().Digest(digestOf(t, img).String()), f.auth())
	if err != nil {
		t.Fatal(err)
	}
	manifest, err := found.IndexManifest()
	if err != nil || len(manifest.Manifests) != 1 || manifest.Manifests[0].Digest != digestOf(t, signature) {
		t.Errorf("referrers are %+v, %v, want %s", manifest, err, digestOf(t, signature))
	}
	child := f.ref(t, "hello").Context().Digest(manifest.Manifests[0].Digest.String())
	if _, err := remote.Image(child, f.auth()); err != nil {
		t.Error(err)
	}
}

// program finds a client or says why the test is left out.
func program(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Skipf("%s is not installed: apt-get install %s", name, name)
	}
	return path
}

// run runs a client with a home of its own and the password on its standard input.
func (f *fixture) run(t *testing.T, home string, args ...string) string {
	t.Helper()
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Env = append(os.Environ(), "HOME="+home, "DOCKER_CONFIG="+home, "REGISTRY_AUTH_FILE="+filepath.Join(home, "auth.json"), "DOCKER_HOST=unix://"+filepath.Join(home, "none.sock"))
	cmd.Stdin = strings.NewReader(f.password)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

func TestSkopeo(t *testing.T) {
	skopeo := program(t, "skopeo")
	for _, bearer := range []bool{false, true} {
		f := newFixture(t, func(c *registry.Config) { c.Bearer = bearer })
		f.rows.Create(repo("hello"), false)
		f.rows.Create(repo("copy"), false)
		if err := remote.Write(f.ref(t, "hello:v1"), randomImage(t), f.auth()); err != nil {
			t.Fatal(err)
		}
		home := t.TempDir()
		f.run(t, home, skopeo, "login", "--tls-verify=false", "-u", "AWS", "--password-stdin", f.host)
		layout := "oci:" + filepath.Join(home, "layout") + ":v1"
		policy := "--insecure-policy"
		f.run(t, home, skopeo, policy, "copy", "--src-tls-verify=false", "docker://"+f.host+"/hello:v1", layout)
		target := "docker://" + f.host + "/" + scope.RegistryHost() + "/copy:v2"
		f.run(t, home, skopeo, policy, "copy", "--dest-tls-verify=false", layout, target)
		f.run(t, home, skopeo, policy, "copy", "--src-tls-verify=false", "--dest-tls-verify=false", target, "docker://"+f.host+"/copy:v3")
		if out := f.run(t, home, skopeo, "list-tags", "--tls-verify=false", "docker://"+f.host+"/copy"); !strings.Contains(out, "v2") || !strings.Contains(out, "v3") {
			t.Errorf("bearer=%v: skopeo lists %s, want v2 and v3", bearer, out)
		}
		f.run(t, home, skopeo, "inspect", "--tls-verify=false", "docker://"+f.host+"/hello:v1")
	}
}

// TestDockerLogin needs the docker program only: without a daemon it logs in by itself.
func TestDockerLogin(t *testing.T) {
	docker := program(t, "docker")
	for _, bearer := range []bool{false, true} {
		f := newFixture(t, func(c *registry.Config) { c.Bearer = bearer })
		if out := f.run(t, t.TempDir(), docker, "login", "-u", "AWS", "--password-stdin", f.host); !strings.Contains(out, "Login Succeeded") {
			t.Errorf("bearer=%v: docker login says %s", bearer, out)
		}
	}
}

func TestCrane(t *testing.T) {
	if testing.Short() {
		t.Skip("builds crane: leave out -short")
	}
	crane := buildTool(t, t.TempDir(), "github.com/google/go-containerregistry/cmd/crane")
	for _, bearer := range []bool{false, true} {
		f := newFixture(t, func(c *registry.Config) { c.Bearer = bearer })
		f.rows.Create(repo("hello"), false)
		home := t.TempDir()
		img := randomImage(t)
		if err := remote.Write(f.ref(t, "hello:v1"), img, f.auth()); err != nil {
			t.Fatal(err)
		}
		image, archive := f.host+"/"+scope.RegistryHost()+"/hello", filepath.Join(home, "image.tar")
		f.run(t, home, crane, "auth", "login", "-u", "AWS", "--password-stdin", f.host)
		f.run(t, home, crane, "pull", image+":v1", archive)
		f.run(t, home, crane, "push", archive, image+":v2")
		f.run(t, home, crane, "tag", image+":v1", "v3")
		if got := strings.TrimSpace(f.run(t, home, crane, "digest", image+":v3")); got != digestOf(t, img).String() {
			t.Errorf("bearer=%v: crane digest says %s, want %s", bearer, got, digestOf(t, img))
		}
		if got := strings.Fields(f.run(t, home, crane, "ls", image)); !slices.Equal(got, []string{"v1", "v2", "v3"}) {
			t.Errorf("bearer=%v: crane ls says %v, want v1 v2 v3", bearer, got)
		}
	}
}
