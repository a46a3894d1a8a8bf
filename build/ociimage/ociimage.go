// Package ociimage makes small OCI images of static programs, without a base image and without a container tool.
// The same input gives the same digest. The demo, the stories and the benchmarks ship such images.
package ociimage

import (
	"archive/tar"
	"bytes"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// Options describe an image.
type Options struct {
	// Program is a static executable; it becomes /app and the ENTRYPOINT. "" leaves the file out, which makes an
	// image that cannot start.
	Program string
	// Rootfs is a folder with a whole file system instead of Program; Args are then the CMD without an ENTRYPOINT.
	Rootfs string
	// Args is the CMD.
	Args []string
	// User is who runs it, in the image's form; "" = root.
	User string
	// Volumes are the folders that the image declares as volumes.
	Volumes []string
	// Env is NAME=value.
	Env []string
	// Port is declared as exposed; 0 = none.
	Port int
	// Architecture is Go's word; "" = this machine's.
	Architecture string
	// Padding is a number of further bytes that do not compress, for tests of large layers.
	Padding int64
}

// Build makes the image.
func Build(o Options) (v1.Image, error) {
	arch := o.Architecture
	if arch == "" {
		arch = runtime.GOARCH
	}
	layer, err := content(o)
	if err != nil {
		return nil, err
	}
	img, err := mutate.AppendLayers(mutate.MediaType(mutate.ConfigMediaType(empty.Image, types.OCIConfigJSON), types.OCIManifestSchema1), layer)
	if err != nil {
		return nil, fmt.Errorf("cannot build image: %w", err)
	}
	cf, err := img.ConfigFile()
	if err != nil {
		return nil, fmt.Errorf("cannot build image: %w", err)
	}
	cf = cf.DeepCopy()
	cf.OS, cf.Architecture = "linux", arch
	cf.Config = v1.Config{Entrypoint: []string{"/app"}, Cmd: o.Args, Env: o.Env, WorkingDir: "/", User: o.User}
	if o.Rootfs != "" {
		cf.Config.Entrypoint = nil
	}
	for _, v := range o.Volumes {
		if cf.Config.Volumes == nil {
			cf.Config.Volumes = map[string]struct{}{}
		}
		cf.Config.Volumes[v] = struct{}{}
	}
	if o.Port != 0 {
		cf.Config.ExposedPorts = map[string]struct{}{fmt.Sprintf("%d/tcp", o.Port): {}}
	}
	if img, err = mutate.ConfigFile(img, cf); err != nil {
		return nil, fmt.Errorf("cannot build image: %w", err)
	}
	return img, nil
}

func content(o Options) (v1.Layer, error) {
	if o.Rootfs != "" {
		return folderLayer(o.Rootfs)
	}
	return programLayer(o)
}

func programLayer(o Options) (v1.Layer, error) {
	var buf bytes.Buffer
	tw := tar.NewWriter(&buf)
	if err := tw.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: "tmp/", Mode: 0o1777}); err != nil {
		return nil, fmt.Errorf("cannot build layer: %w", err)
	}
	if o.Program != "" {
		data, err := os.ReadFile(o.Program)
		if err != nil {
			return nil, fmt.Errorf("cannot build layer: %w", err)
		}
		if err := addFile(tw, "app", 0o755, data); err != nil {
			return nil, fmt.Errorf("cannot build layer: %w", err)
		}
	}
	if o.Padding > 0 {
		if err := addFile(tw, "padding", 0o644, noise(o.Padding)); err != nil {
			return nil, fmt.Errorf("cannot build layer: %w", err)
		}
	}
	if err := tw.Close(); err != nil {
		return nil, fmt.Errorf("cannot build layer: %w", err)
	}
	open := func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(buf.Bytes())), nil }
	layer, err := tarball.LayerFromOpener(open, tarball.WithMediaType(types.OCILayer))
	if err != nil {
		return nil, fmt.Errorf("cannot build layer: %w", err)
	}
	return layer, nil
}

func addFile(tw *tar.Writer, name string, mode int64, data []byte) error {
	if err := tw.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: mode, Size: int64(len(data))}); err != nil {
		return err
	}
	_, err := tw.Write(data)
	return err
}

// noise is a fixed stream of bytes that gzip cannot shrink (xorshift64).
func noise(n int64) []byte {
	out := make([]byte, n)
	x := uint64(0x9E3779B97F4A7C15)
	for i := range out {
		x ^= x << 13
		x ^= x >> 7
		x ^= x << 17
		out[i] = byte(x >> 32)
	}
	return out
}

// Write stores the image: format "docker" (docker archive), "layout" (OCI layout directory) or "oci" (its tar).
func Write(img v1.Image, format, to string) error {
	var err error
	switch format {
	case "docker":
		var tag name.Tag
		if tag, err = name.NewTag("image:latest"); err == nil {
			err = tarball.WriteToFile(to, tag, img)
		}
	case "layout":
		err = writeLayout(img, to)
	case "oci":
		err = writeArchive(img, to)
	default:
		err = fmt.Errorf("unknown format %q: give docker, layout or oci", format)
	}
	if err != nil {
		return fmt.Errorf("cannot write image: %w", err)
	}
	return nil
}

func writeLayout(img v1.Image, dir string) error {
	p, err := layout.Write(dir, empty.Index)
	if err != nil {
		return err
	}
	return p.AppendImage(img)
}

func writeArchive(img v1.Image, file string) error {
	dir, err := os.MkdirTemp("", "ociimage-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if err := writeLayout(img, dir); err != nil {
		return err
	}
	f, err := os.Create(file)
	if err != nil {
		return err
	}
	defer f.Close()
	tw := tar.NewWriter(f)
	if err := addTree(tw, dir); err != nil {
		return err
	}
	if err := tw.Close(); err != nil {
		return err
	}
	return f.Close()
}

func addTree(tw *tar.Writer, dir string) error {
	var files []string
	err := filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			files = append(files, p)
		}
		return err
	})
	if err != nil {
		return err
	}
	slices.Sort(files)
	for _, p := range files {
		data, err := os.ReadFile(p)
		if err != nil {
			return err
		}
		name := path.Clean(filepath.ToSlash(strings.TrimPrefix(p, dir+string(filepath.Separator))))
		if err := addFile(tw, name, 0o644, data); err != nil {
			return err
		}
	}
	return nil
}
