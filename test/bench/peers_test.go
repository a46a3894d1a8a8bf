package bench

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// runc starts copies of the bundle of a running instance.
type runc struct {
	s                  *subject
	program, root, dir string
}

// newRunc copies the bundle of the only instance that runs: the same configuration, with a root and a cgroup of its own.
func newRunc(s *subject) *runc {
	s.t.Helper()
	info, err := s.Info()
	check(s.t, err)
	programs, err := filepath.Glob(filepath.Join(s.Data, "bin", "runc*"))
	check(s.t, err)
	bundles, err := filepath.Glob(filepath.Join("/run/funade", info.InstallID, "state/c/io.containerd.runtime.v2.task", info.InstallID, "*/config.json"))
	check(s.t, err)
	if len(programs) != 1 || len(bundles) != 1 {
		s.t.Fatalf("want one runc and one bundle, found %v and %v", programs, bundles)
	}
	r := &runc{s: s, program: programs[0], root: s.t.TempDir(), dir: s.t.TempDir()}
	data, err := os.ReadFile(bundles[0])
	check(s.t, err)
	var config map[string]any
	check(s.t, json.Unmarshal(data, &config))
	config["root"] = map[string]any{"path": "rootfs"}
	config["linux"].(map[string]any)["cgroupsPath"] = "/funade-bench-" + info.InstallID
	data, err = json.Marshal(config)
	check(s.t, err)
	check(s.t, os.WriteFile(filepath.Join(r.dir, "config.json"), data, 0o600))
	check(s.t, os.CopyFS(filepath.Join(r.dir, "rootfs"), os.DirFS(filepath.Join(filepath.Dir(bundles[0]), "rootfs"))))
	root := filepath.Join(r.dir, "rootfs")
	for _, dir := range []string{filepath.Dir(r.dir), r.dir, root} {
		check(s.t, os.Chmod(dir, 0o755)) // root of the user namespace has to pass
	}
	check(s.t, unix.Mount(root, root, "", unix.MS_BIND, "")) // a mount of its own, as an instance's root is
	s.t.Cleanup(func() { check(s.t, unix.Unmount(root, unix.MNT_DETACH)) })
	return r
}

// run returns how long runc run -d takes, and ends the container.
func (r *runc) run(n int) time.Duration {
	r.s.t.Helper()
	id := fmt.Sprintf("bench-%d", n)
	began := time.Now()
	cmd := exec.Command(r.program, "--root", r.root, "run", "-d", "--bundle", r.dir, id)
	out, err := r.output(cmd)
	took := time.Since(began)
	if err != nil {
		r.s.t.Fatalf("cannot run runc: %v: %s", err, out)
	}
	if out, err := r.output(exec.Command(r.program, "--root", r.root, "delete", "-f", id)); err != nil {
		r.s.t.Fatalf("cannot delete runc's container: %v: %s", err, out)
	}
	return took
}

// output runs a command; the container keeps its standard output, so that a pipe would not end.
func (r *runc) output(cmd *exec.Cmd) (string, error) {
	f, err := os.CreateTemp(r.root, "output")
	if err != nil {
		return "", err
	}
	defer os.Remove(f.Name())
	defer f.Close()
	cmd.Stdout, cmd.Stderr = f, f
	err = cmd.Run()
	data, _ := os.ReadFile(f.Name()) // for the error's sake
	return string(data), err
}

// writeAndHash returns how long one writer takes that hashes on its way and syncs at the end, as the registry has to.
func writeAndHash(t *testing.T, path string, data []byte) time.Duration {
	t.Helper()
	began := time.Now()
	f, err := os.Create(path)
	check(t, err)
	hash := sha256.New()
	_, err = io.CopyBuffer(io.MultiWriter(hash, f), onlyReader{bytes.NewReader(data)}, make([]byte, 1<<20))
	check(t, err)
	check(t, f.Sync())
	check(t, f.Close())
	hash.Sum(nil)
	took := time.Since(began)
	check(t, os.Remove(path))
	return took
}

// onlyReader hides WriteTo, so that a buffer is used.
type onlyReader struct{ io.Reader }

// pushLayer returns how long one layer takes over the registry's API: a session and one PUT.
func (s *subject) pushLayer(auth string, data []byte, digest string) time.Duration {
	s.t.Helper()
	began := time.Now()
	base := "http://" + s.Registry()
	resp := s.registry(http.MethodPost, base+"/v2/app/blobs/uploads/", auth, nil, http.StatusAccepted)
	location, err := url.Parse(base)
	check(s.t, err)
	location, err = location.Parse(resp.Header.Get("Location"))
	check(s.t, err)
	query := location.Query()
	query.Set("digest", digest)
	location.RawQuery = query.Encode()
	s.registry(http.MethodPut, location.String(), auth, data, http.StatusCreated)
	return time.Since(began)
}

func (s *subject) registry(method, target, auth string, body []byte, want int) *http.Response {
	s.t.Helper()
	req, err := http.NewRequestWithContext(s.ctx, method, target, bytes.NewReader(body))
	check(s.t, err)
	req.Header.Set("Authorization", auth)
	req.Header.Set("Content-Type", "application/octet-stream")
	resp, err := http.DefaultClient.Do(req)
	check(s.t, err)
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	check(s.t, err)
	if resp.StatusCode != want {
		s.t.Fatalf("%s %s: status %d: %s", method, target, resp.StatusCode, strings.TrimSpace(string(text)))
	}
	return resp
}
