package containerd

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"syscall"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/containerd/v2/pkg/rootfs"
	"github.com/containerd/errdefs"
	"github.com/containerd/platforms"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/identity"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/funade/funade/internal/app"
	"github.com/funade/funade/internal/engine"
)

const (
	// maxManifest bounds manifests, indexes and configs in bytes.
	maxManifest = 8 << 20
	// maxLayers is what the kernel's overlay mounts take.
	maxLayers = 127
	// labelUncompressed is containerd's name for a layer's digest when unpacked.
	labelUncompressed = "containerd.io/uncompressed"
	labelSnapshotRef  = "containerd.io/gc.ref.snapshot." + snapshotter
)

// image is what starting an instance needs of an image.
type image struct {
	digest  app.Digest
	config  ocispec.Image
	chainID string
}

// imageCache remembers images by the digests of their manifest and of indexes that led to
// it; content never changes under a digest.
type imageCache struct {
	mu     sync.Mutex
	images map[app.Digest]*image
}

func (c *imageCache) get(d app.Digest) *image {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.images[d]
}

func (c *imageCache) put(d app.Digest, img *image) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.images == nil || len(c.images) >= 1024 {
		c.images = map[app.Digest]*image{}
	}
	c.images[d] = img
}

// Resolve makes the image present and unpacked, see engine.Engine.
func (e *Engine) Resolve(ctx context.Context, ref engine.ImageRef) (app.Digest, error) {
	ctx = e.scope(ctx)
	if ref.Local && ref.Digest == "" {
		return "", app.Errorf(app.KindInvalidRequest, ref.Name, "cannot resolve image %q: a local reference needs a digest", ref.Name)
	}
	if img := e.cache.get(ref.Digest); img != nil {
		if _, err := e.layers.Stat(ctx, img.chainID); err == nil {
			return img.digest, nil
		}
	}
	ctx, release, err := e.client.WithLease(ctx)
	if err != nil {
		return "", diskError(ref.Name, fmt.Errorf("cannot lease image: %w", err))
	}
	defer func() { _ = release(context.WithoutCancel(ctx)) }()
	hold := e.protected.begin()
	defer hold.end()

	var manifest ocispec.Descriptor
	if ref.Local {
		manifest, err = e.localManifest(ctx, ref, hold)
	} else {
		manifest, err = e.pull(ctx, ref, hold)
	}
	if err != nil {
		return "", err
	}
	img, err := e.unpack(ctx, ref.Name, manifest)
	if err != nil {
		return "", err
	}
	e.cache.put(img.digest, img)
	if ref.Digest != "" {
		e.cache.put(ref.Digest, img)
	}
	return img.digest, nil
}

// localManifest finds the manifest for this machine in the content store.
func (e *Engine) localManifest(ctx context.Context, ref engine.ImageRef, hold *hold) (ocispec.Descriptor, error) {
	desc, err := e.describe(ctx, digest.Digest(ref.Digest))
	if err != nil {
		return desc, imageError(ref.Name, err)
	}
	hold.add(desc.Digest)
	desc, err = e.choose(ctx, ref.Name, desc)
	if err != nil {
		return desc, err
	}
	children, err := images.Children(ctx, e.content, desc)
	if err != nil {
		return desc, imageError(ref.Name, err)
	}
	for _, child := range children {
		hold.add(child.Digest)
		if _, err := e.content.Info(ctx, child.Digest); errdefs.IsNotFound(err) {
			return desc, app.Errorf(app.KindInvalidRequest, ref.Name, "image %s lacks blob %s; push it again", ref.Name, child.Digest)
		}
	}
	handler := images.SetChildrenMappedLabels(e.content, images.ChildrenHandler(e.content), nil)
	if err := images.Walk(ctx, handler, desc); err != nil {
		return desc, imageError(ref.Name, err)
	}
	return desc, nil
}

// describe makes a descriptor of a manifest or index that is in the store.
func (e *Engine) describe(ctx context.Context, d digest.Digest) (ocispec.Descriptor, error) {
	info, err := e.content.Info(ctx, d)
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	desc := ocispec.Descriptor{Digest: d, Size: info.Size}
	data, err := e.readSmall(ctx, desc)
	if err != nil {
		return desc, err
	}
	desc.MediaType = manifestMediaType(data)
	if desc.MediaType == "" {
		return desc, fmt.Errorf("%s is neither a manifest nor an index: %w", d, errdefs.ErrInvalidArgument)
	}
	return desc, nil
}

// manifestMediaType tells what a document is; "" = neither a manifest nor an index.
func manifestMediaType(data []byte) string {
	var doc struct {
		SchemaVersion int               `json:"schemaVersion"`
		MediaType     string            `json:"mediaType"`
		Config        *json.RawMessage  `json:"config"`
		Layers        []json.RawMessage `json:"layers"`
		Manifests     []json.RawMessage `json:"manifests"`
	}
	if json.Unmarshal(data, &doc) != nil || doc.SchemaVersion != 2 {
		return ""
	}
	switch {
	case images.IsManifestType(doc.MediaType) || images.IsIndexType(doc.MediaType):
		return doc.MediaType
	case doc.Config != nil && doc.Manifests == nil:
		return ocispec.MediaTypeImageManifest
	case doc.Manifests != nil && doc.Config == nil:
		return ocispec.MediaTypeImageIndex
	}
	return ""
}

// readSmall reads a document of at most maxManifest bytes.
func (e *Engine) readSmall(ctx context.Context, desc ocispec.Descriptor) ([]byte, error) {
	if desc.Size > maxManifest {
		return nil, fmt.Errorf("%s has %d bytes, more than %d: %w", desc.Digest, desc.Size, maxManifest, errdefs.ErrInvalidArgument)
	}
	return content.ReadBlob(ctx, e.content, desc)
}

// choose returns desc itself, or the entry of an index that fits this machine.
func (e *Engine) choose(ctx context.Context, name string, desc ocispec.Descriptor) (ocispec.Descriptor, error) {
	if !images.IsIndexType(desc.MediaType) {
		return desc, nil
	}
	data, err := e.readSmall(ctx, desc)
	if err != nil {
		return desc, imageError(name, err)
	}
	var index ocispec.Index
	if err := json.Unmarshal(data, &index); err != nil {
		return desc, app.Errorf(app.KindInvalidRequest, name, "image %s has a broken index: %w", name, err)
	}
	want := platforms.Default()
	var best *ocispec.Descriptor
	var have []string
	for i, m := range index.Manifests {
		if m.Platform == nil {
			if best == nil && images.IsManifestType(m.MediaType) {
				best = &index.Manifests[i]
			}
			continue
		}
		if m.Platform.OS != "unknown" {
			have = append(have, platforms.Format(*m.Platform))
		}
		if !want.Match(*m.Platform) {
			continue
		}
		if best == nil || best.Platform == nil || want.Less(*m.Platform, *best.Platform) {
			best = &index.Manifests[i]
		}
	}
	if best == nil {
		machine := platforms.DefaultString()
		return desc, app.Errorf(app.KindInvalidRequest, name, "image %s has no build for %s, only for %s; build it with --platform %s", name, machine, strings.Join(have, ", "), machine)
	}
	return *best, nil
}

// load reads the config of a manifest and checks that this machine can run it.
func (e *Engine) load(ctx context.Context, name string, desc ocispec.Descriptor) (*image, ocispec.Manifest, error) {
	var manifest ocispec.Manifest
	data, err := e.readSmall(ctx, desc)
	if err != nil {
		return nil, manifest, imageError(name, err)
	}
	if err := json.Unmarshal(data, &manifest); err != nil {
		return nil, manifest, app.Errorf(app.KindInvalidRequest, name, "image %s has a broken manifest: %w", name, err)
	}
	if !images.IsConfigType(manifest.Config.MediaType) {
		return nil, manifest, app.Errorf(app.KindInvalidRequest, name, "%s is not a container image: its config is %q", name, manifest.Config.MediaType)
	}
	if data, err = e.readSmall(ctx, manifest.Config); err != nil {
		return nil, manifest, imageError(name, err)
	}
	img := &image{digest: app.Digest(desc.Digest)}
	if err := json.Unmarshal(data, &img.config); err != nil {
		return nil, manifest, app.Errorf(app.KindInvalidRequest, name, "image %s has a broken config: %w", name, err)
	}
	if p := img.config.Platform; p.OS != "" && !platforms.Default().Match(platforms.Normalize(p)) {
		machine := platforms.DefaultString()
		return nil, manifest, app.Errorf(app.KindInvalidRequest, name, "the image %s is for %s; build it for %s", name, platforms.Format(platforms.Normalize(p)), machine)
	}
	diffs := img.config.RootFS.DiffIDs
	if len(diffs) != len(manifest.Layers) || len(diffs) > maxLayers {
		return nil, manifest, app.Errorf(app.KindInvalidRequest, name, "image %s has %d layers and %d layer digests; they must be equal and at most %d", name, len(manifest.Layers), len(diffs), maxLayers)
	}
	if img.chainID = identity.ChainID(diffs).String(); len(diffs) == 0 {
		return nil, manifest, app.Errorf(app.KindInvalidRequest, name, "image %s has no layers, there is nothing to run", name)
	}
	return img, manifest, nil
}

// unpack extracts what is missing and records the image.
func (e *Engine) unpack(ctx context.Context, name string, desc ocispec.Descriptor) (*image, error) {
	img, manifest, err := e.load(ctx, name, desc)
	if err != nil {
		return nil, err
	}
	record := images.Image{Name: imageName(img.digest), Target: desc}
	if _, err := e.images.Create(ctx, record); errdefs.IsAlreadyExists(err) {
		_, err = e.images.Update(ctx, record)
		if err != nil {
			return nil, diskError(name, fmt.Errorf("cannot record image: %w", err))
		}
	} else if err != nil {
		return nil, diskError(name, fmt.Errorf("cannot record image: %w", err))
	}
	if _, err := e.layers.Stat(ctx, img.chainID); err != nil {
		if err := e.extract(ctx, name, img, manifest.Layers); err != nil {
			return nil, err
		}
	}
	update := content.Info{Digest: manifest.Config.Digest, Labels: map[string]string{labelSnapshotRef: img.chainID}}
	if _, err := e.content.Update(ctx, update, "labels."+labelSnapshotRef); err != nil {
		return nil, diskError(name, fmt.Errorf("cannot label image: %w", err))
	}
	return img, nil
}

func (e *Engine) extract(ctx context.Context, name string, img *image, layers []ocispec.Descriptor) error {
	var size int64
	for _, l := range layers {
		size += l.Size
	}
	if err := e.reserve(2 * size); err != nil {
		return err
	}
	var chain []digest.Digest
	for i, blob := range layers {
		diff := img.config.RootFS.DiffIDs[i]
		layer := rootfs.Layer{Blob: blob, Diff: ocispec.Descriptor{MediaType: ocispec.MediaTypeImageLayer, Digest: diff}}
		applied, err := rootfs.ApplyLayer(ctx, layer, chain, e.layers, e.client.DiffService())
		if err != nil {
			return layerError(ctx, name, blob.Digest, err)
		}
		chain = append(chain, diff)
		if !applied {
			continue
		}
		info := content.Info{Digest: blob.Digest, Labels: map[string]string{labelUncompressed: diff.String()}}
		if _, err := e.content.Update(ctx, info, "labels."+labelUncompressed); err != nil {
			return diskError(name, fmt.Errorf("cannot label layer: %w", err))
		}
	}
	return nil
}

func imageName(d app.Digest) string { return "image/" + string(d) }

// stored returns an image that Resolve has made present.
func (e *Engine) stored(ctx context.Context, d app.Digest) (*image, error) {
	if img := e.cache.get(d); img != nil {
		return img, nil
	}
	record, err := e.images.Get(ctx, imageName(d))
	if err != nil {
		return nil, app.Errorf(app.KindInvalidState, string(d), "image %s is not present; resolve it first", d)
	}
	img, _, err := e.load(ctx, string(d), record.Target)
	if err != nil {
		return nil, err
	}
	e.cache.put(d, img)
	return img, nil
}

// imageError classifies an error about content that should be here.
func imageError(name string, err error) error {
	switch {
	case errdefs.IsNotFound(err):
		return app.Errorf(app.KindInvalidRequest, name, "image %s is incomplete: %w; push it again", name, err)
	case errdefs.IsInvalidArgument(err):
		return app.Errorf(app.KindInvalidRequest, name, "%s is not a container image: %w", name, err)
	}
	return diskError(name, fmt.Errorf("cannot read image %s: %w", name, err))
}

// layerError tells a full disk from a layer that no retry can mend.
func layerError(ctx context.Context, name string, layer digest.Digest, err error) error {
	if ctx.Err() != nil {
		return app.Errorf(app.KindUnavailable, name, "cannot unpack image %s: %w", name, ctx.Err())
	}
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) || errors.Is(err, syscall.EIO) || strings.Contains(err.Error(), syscall.ENOSPC.Error()) {
		return diskError(name, fmt.Errorf("cannot unpack image %s: %w", name, err))
	}
	return app.Errorf(app.KindInvalidRequest, name, "layer %s of image %s is broken: %w; build and push it again", layer, name, err)
}

// diskError is KindUnavailable: asking again may help once the machine is well.
func diskError(resource string, err error) error {
	var known *app.Error
	if errors.As(err, &known) {
		return err
	}
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) || strings.Contains(err.Error(), syscall.ENOSPC.Error()) {
		return app.Errorf(app.KindUnavailable, resource, "the disk is full: %w; free some space or sweep old images", err)
	}
	return app.Errorf(app.KindUnavailable, resource, "%w", err)
}
