package cli

import (
	"archive/tar"
	"bufio"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

// Limits of an OCI archive that is unpacked before it is pushed.
const (
	maxArchiveBytes = 64 << 30
	maxArchiveFiles = 100_000
)

// localImage is an image on this machine: one of image and index is set.
type localImage struct {
	image v1.Image
	index v1.ImageIndex
	// close removes what was unpacked.
	close func()
}

// digest names the content.
func (l *localImage) digest() (v1.Hash, error) {
	if l.index != nil {
		return l.index.Digest()
	}
	return l.image.Digest()
}

// exposedPort is the only TCP port that the image declares; "" when it declares none or several.
func (l *localImage) exposedPort() string {
	if l.image == nil {
		return ""
	}
	cf, err := l.image.ConfigFile()
	if err != nil || len(cf.Config.ExposedPorts) != 1 {
		return ""
	}
	for p := range cf.Config.ExposedPorts {
		number, protocol, _ := strings.Cut(p, "/")
		if _, err := strconv.ParseUint(number, 10, 16); err == nil && (protocol == "" || protocol == "tcp") {
			return number
		}
	}
	return ""
}

// openLocal opens an OCI layout, an OCI archive or a docker archive. It returns nil when arg is no path on this
// machine and may therefore be an image reference.
func openLocal(arg string) (*localImage, error) {
	st, err := os.Stat(arg)
	switch {
	case errors.Is(err, fs.ErrNotExist) && !looksLikePath(arg):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("cannot open image: %w", err)
	case st.IsDir():
		return openLayout(arg, func() {})
	}
	names, err := tarNames(arg)
	if err != nil {
		return nil, fmt.Errorf("cannot open image %s: %w; give an OCI layout, an OCI archive or a docker archive", arg, err)
	}
	switch {
	case names["manifest.json"]:
		image, err := tarball.Image(func() (io.ReadCloser, error) { return openTar(arg) }, nil)
		if err != nil {
			return nil, fmt.Errorf("cannot open docker archive %s: %w", arg, err)
		}
		return &localImage{image: image, close: func() {}}, nil
	case names["oci-layout"] || names["index.json"]:
		return openOCIArchive(arg)
	}
	return nil, fmt.Errorf("cannot open image %s: it holds neither manifest.json nor oci-layout; make it with docker save or skopeo copy … oci-archive:%s", arg, arg)
}

func looksLikePath(arg string) bool {
	return strings.HasPrefix(arg, "/") || strings.HasPrefix(arg, ".") || strings.HasSuffix(arg, ".tar") || strings.HasSuffix(arg, ".tar.gz") || strings.HasSuffix(arg, ".tgz")
}

// openLayout opens an OCI layout directory that holds one image, or one index for several platforms.
func openLayout(dir string, closer func()) (*localImage, error) {
	top, err := layout.ImageIndexFromPath(dir)
	if err != nil {
		closer()
		return nil, fmt.Errorf("cannot open OCI layout %s: %w", dir, err)
	}
	manifest, err := top.IndexManifest()
	if err != nil {
		closer()
		return nil, fmt.Errorf("cannot open OCI layout %s: %w", dir, err)
	}
	local := &localImage{close: closer}
	switch {
	case len(manifest.Manifests) == 1 && manifest.Manifests[0].MediaType.IsIndex():
		local.index, err = top.ImageIndex(manifest.Manifests[0].Digest)
	case len(manifest.Manifests) == 1:
		local.image, err = top.Image(manifest.Manifests[0].Digest)
	case len(manifest.Manifests) > 1 && allPlatforms(manifest.Manifests):
		local.index = top
	default:
		err = fmt.Errorf("it holds %d images; give a layout with one", len(manifest.Manifests))
	}
	if err != nil {
		closer()
		return nil, fmt.Errorf("cannot open OCI layout %s: %w", dir, err)
	}
	return local, nil
}

func allPlatforms(manifests []v1.Descriptor) bool {
	for _, m := range manifests {
		if m.Platform == nil {
			return false
		}
	}
	return true
}

// openTar opens a tar file, compressed with gzip or not.
func openTar(file string) (io.ReadCloser, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	buffered := bufio.NewReader(f)
	if magic, err := buffered.Peek(2); err == nil && magic[0] == 0x1f && magic[1] == 0x8b {
		unzipped, err := gzip.NewReader(buffered)
		if err != nil {
			return nil, errors.Join(err, f.Close())
		}
		return readCloser{unzipped, f}, nil
	}
	return readCloser{buffered, f}, nil
}

type readCloser struct {
	io.Reader
	io.Closer
}

// eachEntry calls f for every entry with a cleaned name.
func eachEntry(file string, f func(name string, h *tar.Header, r io.Reader) error) error {
	in, err := openTar(file)
	if err != nil {
		return err
	}
	defer in.Close()
	tr := tar.NewReader(io.LimitReader(in, maxArchiveBytes))
	for n := 0; ; n++ {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if n == maxArchiveFiles {
			return fmt.Errorf("it holds more than %d files", maxArchiveFiles)
		}
		if err := f(path.Clean(h.Name), h, tr); err != nil {
			return err
		}
	}
}

func tarNames(file string) (map[string]bool, error) {
	names := map[string]bool{}
	err := eachEntry(file, func(name string, _ *tar.Header, _ io.Reader) error {
		names[name] = true
		return nil
	})
	return names, err
}

var layoutFile = regexp.MustCompile(`^(oci-layout|index\.json|blobs/[a-z0-9]{1,20}/[0-9a-f]{32,128})$`)

// openOCIArchive unpacks the files of an OCI layout, and no others, into a temporary directory.
func openOCIArchive(file string) (*localImage, error) {
	dir, err := os.MkdirTemp("", "funade-up-")
	if err != nil {
		return nil, fmt.Errorf("cannot unpack %s: %w", file, err)
	}
	closer := func() { _ = os.RemoveAll(dir) } // a leftover in the temporary directory harms nobody
	err = eachEntry(file, func(name string, h *tar.Header, r io.Reader) error {
		if h.Typeflag != tar.TypeReg || !layoutFile.MatchString(name) {
			return nil
		}
		return unpack(filepath.Join(dir, filepath.FromSlash(name)), r)
	})
	if err != nil {
		closer()
		return nil, fmt.Errorf("cannot unpack %s: %w", file, err)
	}
	return openLayout(dir, closer)
}

func unpack(to string, r io.Reader) error {
	if err := os.MkdirAll(filepath.Dir(to), 0o700); err != nil {
		return err
	}
	f, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, r)
	return errors.Join(err, f.Close())
}
