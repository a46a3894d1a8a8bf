package containerd

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/containerd/v2/core/remotes"
	"github.com/containerd/containerd/v2/core/remotes/docker"
	remoteerrors "github.com/containerd/containerd/v2/core/remotes/errors"
	"github.com/containerd/errdefs"
	"github.com/distribution/reference"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/semaphore"

	"github.com/funade/funade/internal/app"
	"github.com/funade/funade/internal/base/guarded"
	"github.com/funade/funade/internal/engine"
)

// pullStreams bounds the downloads of one pull.
const pullStreams = 4

// pull fetches the manifest for this machine and everything it names, anonymously and
// through the guarded dialer.
func (e *Engine) pull(ctx context.Context, ref engine.ImageRef, hold *hold) (ocispec.Descriptor, error) {
	var none ocispec.Descriptor
	named, err := reference.ParseDockerRef(ref.Name)
	if err != nil {
		return none, app.Errorf(app.KindInvalidRequest, ref.Name, "%q is not an image reference: %w", ref.Name, err)
	}
	if ref.Digest != "" {
		if named, err = reference.WithDigest(reference.TrimNamed(named), digest.Digest(ref.Digest)); err != nil {
			return none, app.Errorf(app.KindInvalidRequest, ref.Name, "%q is not a digest: %w", ref.Digest, err)
		}
	}
	if e.cfg.Dialer == nil {
		return none, app.Errorf(app.KindInvalidRequest, ref.Name, "cannot pull %s: pulling from other registries is off", ref.Name)
	}
	transport := e.transport()
	defer transport.CloseIdleConnections()
	resolver := newResolver(&http.Client{Transport: transport})
	full, desc, err := resolver.Resolve(ctx, named.String())
	if err != nil {
		return none, pullError(ctx, ref.Name, err)
	}
	fetcher, err := resolver.Fetcher(ctx, full)
	if err != nil {
		return none, pullError(ctx, ref.Name, err)
	}
	return e.fetch(ctx, ref.Name, fetcher, desc, hold)
}

func (e *Engine) transport() *http.Transport {
	return &http.Transport{
		DialContext: e.cfg.Dialer, TLSHandshakeTimeout: 10 * time.Second, ResponseHeaderTimeout: 30 * time.Second,
		IdleConnTimeout: 10 * time.Second, MaxIdleConnsPerHost: pullStreams, ForceAttemptHTTP2: true,
	}
}

func newResolver(c *http.Client) remotes.Resolver {
	auth := docker.NewDockerAuthorizer(docker.WithAuthClient(c))
	return docker.NewResolver(docker.ResolverOptions{Hosts: docker.ConfigureDefaultRegistries(
		docker.WithClient(c), docker.WithAuthorizer(auth), docker.WithPlainHTTP(docker.MatchLocalhost))})
}

func (e *Engine) fetch(ctx context.Context, name string, fetcher remotes.Fetcher, desc ocispec.Descriptor, hold *hold) (ocispec.Descriptor, error) {
	get := remotes.FetchHandler(e.content, fetcher)
	guard := images.HandlerFunc(func(_ context.Context, d ocispec.Descriptor) ([]ocispec.Descriptor, error) {
		hold.add(d.Digest)
		if (images.IsManifestType(d.MediaType) || images.IsIndexType(d.MediaType) || images.IsConfigType(d.MediaType)) && d.Size > maxManifest {
			return nil, app.Errorf(app.KindInvalidRequest, name, "image %s has a document of %d bytes, more than %d", name, d.Size, maxManifest)
		}
		return nil, e.reserve(d.Size)
	})
	if images.IsIndexType(desc.MediaType) {
		if err := images.Walk(ctx, images.Handlers(guard, get), desc); err != nil {
			return desc, pullError(ctx, name, err)
		}
		var err error
		if desc, err = e.choose(ctx, name, desc); err != nil {
			return desc, err
		}
	}
	if !images.IsManifestType(desc.MediaType) {
		return desc, app.Errorf(app.KindInvalidRequest, name, "%s is not a container image but %q", name, desc.MediaType)
	}
	children := images.SetChildrenMappedLabels(e.content, images.ChildrenHandler(e.content), nil)
	handler := images.Handlers(guard, get, children)
	if err := images.Dispatch(ctx, handler, semaphore.NewWeighted(pullStreams), desc); err != nil {
		return desc, pullError(ctx, name, err)
	}
	return desc, nil
}

// pullError sorts what a registry or the way to it answered into "asking again cannot
// help" and "try again".
func pullError(ctx context.Context, name string, err error) error {
	var known *app.Error
	if errors.As(err, &known) {
		kind := app.KindUnavailable
		if known.Kind == app.KindDenied || known.Kind == app.KindInvalidRequest {
			kind = app.KindInvalidRequest
		}
		return app.Errorf(kind, name, "cannot pull %s: %w", name, known)
	}
	var status remoteerrors.ErrUnexpectedStatus
	var lookup *net.DNSError
	switch {
	case ctx.Err() != nil:
		return app.Errorf(app.KindUnavailable, name, "cannot pull %s: %w", name, ctx.Err())
	case errors.Is(err, guarded.ErrRefused):
		return app.Errorf(app.KindInvalidRequest, name, "cannot pull %s: %w", name, err)
	case errors.As(err, &lookup) && lookup.IsNotFound:
		return app.Errorf(app.KindInvalidRequest, name, "cannot pull %s: there is no host named %s; check the reference", name, lookup.Name)
	case errdefs.IsNotFound(err):
		return app.Errorf(app.KindInvalidRequest, name, "cannot pull %s: no such repository or tag; check the name", name)
	case errors.Is(err, docker.ErrInvalidAuthorization), errdefs.IsUnauthorized(err), errdefs.IsPermissionDenied(err),
		errors.As(err, &status) && (status.StatusCode == http.StatusUnauthorized || status.StatusCode == http.StatusForbidden):
		return app.Errorf(app.KindInvalidRequest, name, "cannot pull %s: the registry asks for credentials; the image is private or does not exist. Push it to this install's registry instead", name)
	case errors.As(err, &status) && status.StatusCode >= 400 && status.StatusCode < 500 && status.StatusCode != http.StatusTooManyRequests:
		return app.Errorf(app.KindInvalidRequest, name, "cannot pull %s: the registry answered %s", name, status.Status)
	case errdefs.IsFailedPrecondition(err), strings.Contains(err.Error(), "unexpected commit digest"):
		return app.Errorf(app.KindInvalidRequest, name, "cannot pull %s: the registry sent a broken blob: %w", name, err)
	}
	return diskError(name, fmt.Errorf("cannot pull %s: %w", name, err))
}
