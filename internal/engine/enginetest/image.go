package enginetest

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"runtime"
	"testing"

	"github.com/funade/funade/internal/app"
	"github.com/funade/funade/internal/base/id"
	"github.com/funade/funade/internal/engine"
)

// Spec describes an image in the few ways that tests need.
type Spec struct {
	Program
	// Arch is "" for this machine's.
	Arch string
	// BrokenLayer: the layer is not a tar archive. NoLayer: it is not pushed.
	BrokenLayer, NoLayer bool
	// ConfigType is the config's media type, "" for an image's.
	ConfigType string
}

// DigestOf returns data's digest.
func DigestOf(data []byte) app.Digest {
	sum := sha256.Sum256(data)
	return app.Digest("sha256:" + hex.EncodeToString(sum[:]))
}

// Push puts one blob into the store.
func Push(t testing.TB, blobs engine.Blobs, data []byte) app.Digest {
	t.Helper()
	u, err := blobs.Upload(t.Context(), id.Source{}.Hex32())
	if err != nil {
		t.Fatalf("Upload: %v", err)
	}
	defer u.Close()
	if _, err := u.Write(data); err != nil {
		t.Fatalf("Write: %v", err)
	}
	d := DigestOf(data)
	if err := u.Commit(t.Context(), d, int64(len(data))); err != nil {
		t.Fatalf("Commit: %v", err)
	}
	return d
}

// PushImage builds an image of one layer that holds binary as /app, pushes it blob by
// blob and returns its manifest's digest.
func PushImage(t testing.TB, blobs engine.Blobs, binary []byte, s Spec) app.Digest {
	t.Helper()
	layer := tarOf(t, binary, s)
	if s.BrokenLayer {
		layer = []byte("this is not a tar archive, whatever the manifest says")
	}
	command := s.Command
	if command == "" {
		command = "/app"
	}
	volumes := map[string]any{}
	for _, v := range s.Volumes {
		volumes[v] = struct{}{}
	}
	config := encode(t, map[string]any{
		"architecture": orElse(s.Arch, runtime.GOARCH), "os": "linux",
		"config": map[string]any{
			"Entrypoint": []string{command}, "Cmd": s.Actions, "StopSignal": s.StopSignal, "User": s.User, "Env": []string{"FROM_IMAGE=yes"},
			"Volumes": volumes,
		},
		"rootfs": map[string]any{"type": "layers", "diff_ids": []app.Digest{DigestOf(layer)}},
	})
	descriptor := func(mediaType string, data []byte) map[string]any {
		return map[string]any{"mediaType": mediaType, "digest": DigestOf(data), "size": len(data)}
	}
	manifest := encode(t, map[string]any{
		"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
		"config": descriptor(orElse(s.ConfigType, "application/vnd.oci.image.config.v1+json"), config),
		"layers": []any{descriptor("application/vnd.oci.image.layer.v1.tar", layer)},
	})
	if !s.NoLayer {
		Push(t, blobs, layer)
	}
	Push(t, blobs, config)
	return Push(t, blobs, manifest)
}

func orElse(s, other string) string {
	if s == "" {
		return other
	}
	return s
}

func encode(t testing.TB, v any) []byte {
	t.Helper()
	data, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// tarOf makes the layer; a random file makes its digest unlike any other's.
func tarOf(t testing.TB, binary []byte, s Spec) []byte {
	t.Helper()
	if s.Garbage {
		binary = []byte("this is text, no program")
	}
	mode := s.Mode
	if mode == 0 {
		mode = 0o755
	}
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	for _, f := range []struct {
		name string
		mode int64
		data []byte
	}{
		{"app", mode, binary}, {"unique", 0o644, []byte(id.Source{}.Hex32())},
		{"etc/passwd", 0o644, []byte("root:x:0:0::/:\nuser:x:1000:1001::/:\n")}, {"etc/group", 0o644, []byte("root:x:0:\nuser:x:1001:\nextra:x:1002:user\n")},
	} {
		if err := w.WriteHeader(&tar.Header{Name: f.name, Mode: f.mode, Size: int64(len(f.data)), Format: tar.FormatPAX}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(f.data); err != nil {
			t.Fatal(err)
		}
	}
	for _, n := range s.Tree {
		h := &tar.Header{Name: n.Name, Mode: n.Mode, Uid: n.UID, Gid: n.GID, Size: int64(len(n.Data)), Typeflag: tar.TypeReg, Format: tar.FormatPAX}
		if n.Data == "" {
			h.Typeflag = tar.TypeDir
		}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, n.Data); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}
