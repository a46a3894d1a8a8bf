package containerd

import (
	"context"
	"crypto/sha512"
	"encoding/hex"
	"fmt"
	"io"
	"strconv"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/funade/funade/internal/app"
)

// labelSHA512 holds the sha512, in hex, of a blob that was pushed under that digest. containerd keeps content by
// sha256 only, so such a blob is stored by its sha256 and found by this label.
const labelSHA512 = "dev.funade.sha512"

// commitSHA512 ends a session whose content was promised as a sha512 digest.
func (u *upload) commitSHA512(ctx context.Context, want digest.Digest, size int64) error {
	stored := u.writer.Digest()
	if err := u.Commit(ctx, app.Digest(stored), size); err != nil {
		return err
	}
	ctx = u.engine.scope(ctx)
	ra, err := u.engine.content.ReaderAt(ctx, ocispec.Descriptor{Digest: stored})
	if err != nil {
		return diskError(string(want), fmt.Errorf("cannot read blob %s: %w", want, err))
	}
	defer ra.Close()
	h := sha512.New()
	if _, err := io.Copy(h, content.NewReader(ra)); err != nil {
		return diskError(string(want), fmt.Errorf("cannot read blob %s: %w", want, err))
	}
	sum := hex.EncodeToString(h.Sum(nil))
	if sum != want.Encoded() { // what was stored belongs to nobody; Sweep removes it
		return app.Errorf(app.KindInvalidRequest, string(want), "the bytes received have digest sha512:%s, not %s", sum, want)
	}
	_, err = u.engine.content.Update(ctx, content.Info{Digest: stored, Labels: map[string]string{labelSHA512: sum}}, "labels."+labelSHA512)
	if err != nil {
		return diskError(string(want), fmt.Errorf("cannot label blob %s: %w", want, err))
	}
	return nil
}

// storedAs returns the digest that a blob is kept by; a sha512 digest that nothing was pushed under stays as it is.
func (e *Engine) storedAs(ctx context.Context, d digest.Digest) (digest.Digest, error) {
	if d.Algorithm() != digest.SHA512 {
		return d, nil
	}
	found := d
	err := e.content.Walk(ctx, func(info content.Info) error {
		found = info.Digest
		return nil
	}, "labels."+strconv.Quote(labelSHA512)+"=="+d.Encoded())
	if err != nil && !errdefs.IsNotFound(err) {
		return d, fmt.Errorf("cannot look for blob %s: %w", d, err)
	}
	return found, nil
}
