package registry

import (
	"encoding/json"
	"mime"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/funade/funade/internal/app"
)

// Media types of manifests (OCI image-spec 1.1; distribution "Image Manifest Version 2, Schema 2").
const (
	MediaTypeOCIImage     = "application/vnd.oci.image.manifest.v1+json"
	MediaTypeOCIIndex     = "application/vnd.oci.image.index.v1+json"
	MediaTypeOCIArtifact  = "application/vnd.oci.artifact.manifest.v1+json"
	MediaTypeDockerImage  = "application/vnd.docker.distribution.manifest.v2+json"
	MediaTypeDockerList   = "application/vnd.docker.distribution.manifest.list.v2+json"
	mediaTypeDockerSchema = "application/vnd.docker.distribution.manifest.v1"
)

const (
	// MaxManifest bounds a manifest in bytes (distribution-spec 1.1 "Pushing Manifests").
	MaxManifest = 4 << 20
	// maxDescriptors bounds what one manifest names; ECR's "layers per manifest" quota.
	maxDescriptors = 4200
	// maxAnnotations bounds the annotations kept in a manifest's row, in bytes; larger ones are read from the content.
	maxAnnotations = 16 << 10
	maxMediaType   = 255
)

// descriptor is OCI's content descriptor, without what nobody here reads.
type descriptor struct {
	MediaType string     `json:"mediaType"`
	Digest    app.Digest `json:"digest"`
	Size      int64      `json:"size"`
}

// optional reports whether a layer may be absent: foreign layers stay where their URLs say.
func (d descriptor) optional() bool {
	return strings.HasPrefix(d.MediaType, "application/vnd.oci.image.layer.nondistributable.") ||
		strings.HasPrefix(d.MediaType, "application/vnd.docker.image.rootfs.foreign.")
}

// document is a manifest or index of any supported kind.
type document struct {
	SchemaVersion int               `json:"schemaVersion"`
	MediaType     string            `json:"mediaType"`
	ArtifactType  string            `json:"artifactType"`
	Config        *descriptor       `json:"config"`
	Layers        []descriptor      `json:"layers"`
	Blobs         []descriptor      `json:"blobs"`
	Manifests     []descriptor      `json:"manifests"`
	Subject       *descriptor       `json:"subject"`
	Annotations   map[string]string `json:"annotations"`
	FSLayers      json.RawMessage   `json:"fsLayers"`
}

// required lists the blobs that must be in the repository, foreign the layers that need not.
func (d *document) blobs() (required, foreign []descriptor) {
	if d.Config != nil {
		required = append(required, *d.Config)
	}
	for _, l := range slices.Concat(d.Layers, d.Blobs) {
		if l.optional() {
			foreign = append(foreign, l)
		} else {
			required = append(required, l)
		}
	}
	return required, foreign
}

// parseManifest reads a manifest and checks it against its media type ("" or a general one: as the content says).
func parseManifest(mediaType string, body []byte) (*document, error) {
	var d document
	if err := json.Unmarshal(body, &d); err != nil {
		return nil, invalidManifest("it is not a JSON manifest: " + err.Error())
	}
	if err := d.setMediaType(mediaType); err != nil {
		return nil, err
	}
	if d.SchemaVersion != 2 && d.MediaType != MediaTypeOCIArtifact {
		return nil, invalidManifest("schemaVersion is " + strconv.Itoa(d.SchemaVersion) + ", expected 2")
	}
	switch d.MediaType {
	case MediaTypeOCIImage, MediaTypeDockerImage:
		if d.Config == nil {
			return nil, invalidManifest("an image manifest needs a config")
		}
		if len(d.Manifests)+len(d.Blobs) > 0 {
			return nil, invalidManifest("an image manifest has neither manifests nor blobs")
		}
	case MediaTypeOCIIndex, MediaTypeDockerList:
		if d.Config != nil || len(d.Layers)+len(d.Blobs) > 0 {
			return nil, invalidManifest("an index has neither config nor layers nor blobs")
		}
	case MediaTypeOCIArtifact:
		if d.Config != nil || len(d.Layers)+len(d.Manifests) > 0 {
			return nil, invalidManifest("an artifact manifest has neither config nor layers nor manifests")
		}
	}
	return &d, d.checkDescriptors()
}

// setMediaType settles the media type between the Content-Type and the content, which must not contradict each other.
func (d *document) setMediaType(declared string) error {
	if base, _, err := mime.ParseMediaType(declared); err == nil {
		declared = base
	}
	if declared == "application/json" || declared == "application/octet-stream" || declared == "text/plain" {
		declared = ""
	}
	if strings.HasPrefix(declared, mediaTypeDockerSchema) || d.SchemaVersion == 1 || len(d.FSLayers) > 0 {
		return invalidManifest("Docker image manifests of schema 1 are not supported: push with a current client")
	}
	if declared != "" && d.MediaType != "" && declared != d.MediaType {
		return invalidManifest("its mediaType " + strconv.Quote(d.MediaType) + " differs from the Content-Type " + strconv.Quote(declared))
	}
	if d.MediaType == "" {
		d.MediaType = declared
	}
	if d.MediaType == "" {
		switch {
		case d.Config != nil && d.Manifests == nil:
			d.MediaType = MediaTypeOCIImage
		case d.Config == nil && d.Layers == nil && d.Manifests != nil:
			d.MediaType = MediaTypeOCIIndex
		}
	}
	switch d.MediaType {
	case MediaTypeOCIImage, MediaTypeOCIIndex, MediaTypeOCIArtifact, MediaTypeDockerImage, MediaTypeDockerList:
		return nil
	}
	return invalidManifest("unsupported media type " + strconv.Quote(d.MediaType) + ": expected an OCI image or index, or a Docker schema 2 manifest or list")
}

func (d *document) checkDescriptors() error {
	required, foreign := d.blobs()
	all := slices.Concat(required, foreign, d.Manifests)
	if d.Subject != nil {
		all = append(all, *d.Subject)
	}
	if len(all) > maxDescriptors {
		return invalidManifest("it names " + strconv.Itoa(len(all)) + " objects, at most " + strconv.Itoa(maxDescriptors) + " are allowed")
	}
	var sum int64
	for _, e := range all {
		if !e.Digest.Valid() {
			return invalidManifest("the digest " + strconv.Quote(short(string(e.Digest))) + " is not a sha256 or sha512 digest")
		}
		if e.Size < 0 || e.Size > 1<<53 {
			return invalidManifest("the size of " + string(e.Digest) + " is not between 0 and 2^53")
		}
		if sum += e.Size; sum > 1<<60 {
			return invalidManifest("the sizes of what it names add up to more than 2^60")
		}
		if len(e.MediaType) > maxMediaType {
			return invalidManifest("the media type of " + string(e.Digest) + " has more than 255 characters")
		}
	}
	if len(d.ArtifactType) > maxMediaType {
		return invalidManifest("artifactType has more than 255 characters")
	}
	return nil
}

// row is the manifest's row but for repository, tags, image size of an index and time.
func (d *document) row(digest app.Digest, size int) app.Manifest {
	m := app.Manifest{Digest: digest, MediaType: d.MediaType, ArtifactType: d.ArtifactType, Size: int64(size)}
	if d.Config != nil {
		m.ConfigMediaType = d.Config.MediaType
	}
	required, foreign := d.blobs()
	seen := map[app.Digest]bool{}
	for _, b := range required {
		if !seen[b.Digest] {
			seen[b.Digest] = true
			m.Blobs = append(m.Blobs, b.Digest)
		}
		m.ImageSize += b.Size
	}
	for _, b := range foreign {
		m.ImageSize += b.Size
	}
	for _, c := range d.Manifests {
		if !seen[c.Digest] {
			seen[c.Digest] = true
			m.Manifests = append(m.Manifests, c.Digest)
		}
	}
	if d.Subject != nil {
		m.Subject = d.Subject.Digest
	}
	sum := 0
	for k, v := range d.Annotations {
		sum += len(k) + len(v)
	}
	if sum <= maxAnnotations {
		m.Annotations = d.Annotations
	}
	return m
}

func invalidManifest(reason string) error {
	return fail(http.StatusBadRequest, "MANIFEST_INVALID", "The manifest is invalid: "+reason+".")
}

func short(s string) string {
	if len(s) > 200 {
		return s[:200] + "..."
	}
	return s
}
