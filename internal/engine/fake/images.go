package fake

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"runtime"
	"strings"

	"github.com/funade/funade/internal/app"
	"github.com/funade/funade/internal/engine"
)

// document is what the fake reads of manifests, indexes and configs.
type document struct {
	SchemaVersion int          `json:"schemaVersion"`
	Config        *descriptor  `json:"config"`
	Layers        []descriptor `json:"layers"`
	Manifests     []descriptor `json:"manifests"`
	Architecture  string       `json:"architecture"`
}

type descriptor struct {
	MediaType string     `json:"mediaType"`
	Digest    app.Digest `json:"digest"`
	Platform  *struct {
		OS           string `json:"os"`
		Architecture string `json:"architecture"`
	} `json:"platform"`
}

// Resolve makes an image present, see engine.Engine.
func (e *Engine) Resolve(_ context.Context, ref engine.ImageRef) (app.Digest, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.counts.Resolves++
	if !ref.Local {
		img, ok := e.external[ref.Name]
		if !ok {
			return "", app.Errorf(app.KindInvalidRequest, ref.Name, "cannot pull %s: no such repository or tag; check the name", ref.Name)
		}
		if img.err != nil {
			return "", img.err
		}
		e.resolved[img.digest] = true
		return img.digest, nil
	}
	if ref.Digest == "" {
		return "", app.Errorf(app.KindInvalidRequest, ref.Name, "cannot resolve image %q: a local reference needs a digest", ref.Name)
	}
	d := ref.Digest
	if _, stored := e.blobs[d]; stored || e.scripts[d] == nil {
		var err error
		if d, err = e.check(ref.Name, d, 0); err != nil {
			return "", err
		}
	}
	e.resolved[d] = true
	return d, nil
}

// check returns the manifest for this machine below d, or why there is none.
func (e *Engine) check(name string, d app.Digest, depth int) (app.Digest, error) {
	blob, ok := e.blobs[d]
	if !ok {
		return "", app.Errorf(app.KindInvalidRequest, name, "image %s is incomplete: no blob %s; push it again", name, d)
	}
	var doc document
	if json.Unmarshal(blob.data, &doc) != nil || doc.SchemaVersion != 2 || depth > 1 {
		return "", app.Errorf(app.KindInvalidRequest, name, "%s is not a container image", name)
	}
	if doc.Config == nil {
		return e.checkIndex(name, doc, depth)
	}
	if !strings.Contains(doc.Config.MediaType, "image") {
		return "", app.Errorf(app.KindInvalidRequest, name, "%s is not a container image: its config is %q", name, doc.Config.MediaType)
	}
	var config document
	if json.Unmarshal(e.blobs[doc.Config.Digest].data, &config) != nil {
		return "", app.Errorf(app.KindInvalidRequest, name, "image %s has a broken config", name)
	}
	if config.Architecture != runtime.GOARCH {
		return "", app.Errorf(app.KindInvalidRequest, name, "the image %s is for linux/%s; build it for linux/%s", name, config.Architecture, runtime.GOARCH)
	}
	for _, layer := range doc.Layers {
		data, ok := e.blobs[layer.Digest]
		if !ok {
			return "", app.Errorf(app.KindInvalidRequest, name, "image %s lacks blob %s; push it again", name, layer.Digest)
		}
		if _, err := tar.NewReader(bytes.NewReader(data.data)).Next(); err != nil {
			return "", app.Errorf(app.KindInvalidRequest, name, "layer %s of image %s is broken: %w; build and push it again", layer.Digest, name, err)
		}
	}
	return d, nil
}

func (e *Engine) checkIndex(name string, doc document, depth int) (app.Digest, error) {
	var have []string
	for _, m := range doc.Manifests {
		if m.Platform == nil || m.Platform.Architecture == runtime.GOARCH {
			return e.check(name, m.Digest, depth+1)
		}
		have = append(have, m.Platform.OS+"/"+m.Platform.Architecture)
	}
	return "", app.Errorf(app.KindInvalidRequest, name, "image %s has no build for linux/%s, only for %s", name, runtime.GOARCH, strings.Join(have, ", "))
}
