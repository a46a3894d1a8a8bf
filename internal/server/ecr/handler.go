// Package ecr answers the Amazon ECR API over control's rows and the registry's manifests.
package ecr

import (
	"context"
	"encoding/base64"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/funade/funade/internal/app"
	api "github.com/funade/funade/internal/aws/api/ecr"
	"github.com/funade/funade/internal/aws/wire"
	"github.com/funade/funade/internal/control"
	"github.com/funade/funade/internal/server/caller"
	"github.com/funade/funade/internal/server/member"
)

// Tokens makes passwords for the registry.
type Tokens interface {
	// Issue returns a password for the user AWS and when it ends.
	Issue(scope app.Scope, accessKeyID string) (password string, expires time.Time)
}

// Manifests reads and writes the manifests of the registry.
type Manifests interface {
	ReadManifest(ctx context.Context, key app.RepositoryKey, reference string) (app.Manifest, []byte, error)
	PutManifest(ctx context.Context, key app.RepositoryKey, mediaType string, body []byte, tag string) (app.Manifest, error)
}

// Handler implements the generated ECR handler.
type Handler struct {
	api.Unimplemented
	control   *control.Control
	tokens    Tokens
	manifests Manifests
	// proxyEndpoint is the URL that GetAuthorizationToken names.
	proxyEndpoint string
}

// New returns the handler.
func New(c *control.Control, t Tokens, m Manifests, proxyEndpoint string) *Handler {
	return &Handler{control: c, tokens: t, manifests: m, proxyEndpoint: proxyEndpoint}
}

// AuthorizationToken returns base64("AWS:" + password) for the caller and when it ends.
func AuthorizationToken(ctx context.Context, t Tokens) (string, time.Time) {
	c, _ := wire.CallerFrom(ctx)
	password, expires := t.Issue(caller.Scope(ctx), c.AccessKeyID)
	return base64.StdEncoding.EncodeToString([]byte("AWS:" + password)), expires
}

// GetAuthorizationToken makes a password for docker login.
func (h *Handler) GetAuthorizationToken(ctx context.Context, in *api.GetAuthorizationTokenInput) (*api.GetAuthorizationTokenOutput, error) {
	for _, id := range in.RegistryIds {
		if _, err := key(ctx, &id, "any"); err != nil {
			return nil, err
		}
	}
	token, expires := AuthorizationToken(ctx, h.tokens)
	return &api.GetAuthorizationTokenOutput{AuthorizationData: []api.AuthorizationData{{
		AuthorizationToken: &token, ExpiresAt: &expires, ProxyEndpoint: new(h.proxyEndpoint),
	}}}, nil
}

// DescribeRegistry shows the registry of the caller's account; it replicates nothing.
func (h *Handler) DescribeRegistry(ctx context.Context, _ *api.DescribeRegistryInput) (*api.DescribeRegistryOutput, error) {
	return &api.DescribeRegistryOutput{
		RegistryId:               new(string(caller.Scope(ctx).Account)),
		ReplicationConfiguration: &api.ReplicationConfiguration{Rules: []api.ReplicationRule{}},
	}, nil
}

// key names a repository of the caller's account; another registryId is refused.
func key(ctx context.Context, registryID *string, name string) (app.RepositoryKey, error) {
	scope := caller.Scope(ctx)
	if registryID != nil && *registryID != string(scope.Account) {
		return app.RepositoryKey{}, &api.InvalidParameterException{
			Message: "Invalid parameter at 'registryId': the registry '" + *registryID + "' is of another account. Leave it out or give " + string(scope.Account) + ".",
		}
	}
	return app.RepositoryKey{Scope: scope, Name: name}, nil
}

func registryID(k app.RepositoryKey) *string { return new(string(k.Scope.Account)) }

func pageRequest(maxResults *int32, token *string) control.PageRequest {
	return control.PageRequest{MaxResults: int(member.Value(maxResults)), NextToken: member.Value(token)}
}

// defaultPage is ECR's page when maxResults is absent (ecr model: "if this parameter is not used … up to 100 results").
const defaultPage = 100

func limited(maxResults *int32, token *string) control.PageRequest {
	p := pageRequest(maxResults, token)
	if p.MaxResults == 0 {
		p.MaxResults = defaultPage
	}
	return p
}

// wireErrors are ECR's exceptions by the code that control puts on its errors.
var wireErrors = map[string]func(message string) error{
	"RepositoryNotFoundException":       func(m string) error { return &api.RepositoryNotFoundException{Message: m} },
	"RepositoryAlreadyExistsException":  func(m string) error { return &api.RepositoryAlreadyExistsException{Message: m} },
	"RepositoryNotEmptyException":       func(m string) error { return &api.RepositoryNotEmptyException{Message: m} },
	"ImageNotFoundException":            func(m string) error { return &api.ImageNotFoundException{Message: m} },
	"ImageAlreadyExistsException":       func(m string) error { return &api.ImageAlreadyExistsException{Message: m} },
	"ImageTagAlreadyExistsException":    func(m string) error { return &api.ImageTagAlreadyExistsException{Message: m} },
	"LifecyclePolicyNotFoundException":  func(m string) error { return &api.LifecyclePolicyNotFoundException{Message: m} },
	"RepositoryPolicyNotFoundException": func(m string) error { return &api.RepositoryPolicyNotFoundException{Message: m} },
	"LayersNotFoundException":           func(m string) error { return &api.LayersNotFoundException{Message: m} },
	"ReferencedImagesNotFoundException": func(m string) error { return &api.ReferencedImagesNotFoundException{Message: m} },
	"ImageDigestDoesNotMatchException":  func(m string) error { return &api.ImageDigestDoesNotMatchException{Message: m} },
	"InvalidTagParameterException":      func(m string) error { return &api.InvalidTagParameterException{Message: m} },
	"TooManyTagsException":              func(m string) error { return &api.TooManyTagsException{Message: m} },
	"LimitExceededException":            func(m string) error { return &api.LimitExceededException{Message: m} },
}

// wireError maps control's and the registry's errors to ECR's exceptions (ecr model 2015-09-21).
func wireError(err error) error {
	var e *app.Error
	if !errors.As(err, &e) {
		return err
	}
	if known := wireErrors[e.Code]; known != nil {
		return known(e.Message)
	}
	switch e.Kind {
	case app.KindNotFound:
		return &api.RepositoryNotFoundException{Message: e.Message}
	case app.KindExists:
		return &api.RepositoryAlreadyExistsException{Message: e.Message}
	case app.KindQuota:
		return &api.LimitExceededException{Message: e.Message}
	case app.KindInvalidRequest, app.KindInvalidState, app.KindDenied, app.KindThrottled:
		return &api.InvalidParameterException{Message: e.Message}
	case app.KindUnavailable:
		return &api.ServerException{Message: e.Message}
	}
	return err
}

func tagsOf(in []api.Tag) app.Tags {
	tags := make(app.Tags, len(in))
	for _, t := range in {
		tags[*t.Key] = *t.Value
	}
	return tags
}

// TagResource adds tags to a repository.
func (h *Handler) TagResource(ctx context.Context, in *api.TagResourceInput) (*api.TagResourceOutput, error) {
	if err := h.control.TagResource(ctx, caller.Scope(ctx), *in.ResourceArn, tagsOf(in.Tags)); err != nil {
		return nil, wireError(err)
	}
	return &api.TagResourceOutput{}, nil
}

// UntagResource removes tags from a repository.
func (h *Handler) UntagResource(ctx context.Context, in *api.UntagResourceInput) (*api.UntagResourceOutput, error) {
	if err := h.control.UntagResource(ctx, caller.Scope(ctx), *in.ResourceArn, in.TagKeys); err != nil {
		return nil, wireError(err)
	}
	return &api.UntagResourceOutput{}, nil
}

// ListTagsForResource lists a repository's tags.
func (h *Handler) ListTagsForResource(ctx context.Context, in *api.ListTagsForResourceInput) (*api.ListTagsForResourceOutput, error) {
	tags, err := h.control.ListTagsForResource(ctx, caller.Scope(ctx), *in.ResourceArn)
	if err != nil {
		return nil, wireError(err)
	}
	out := &api.ListTagsForResourceOutput{Tags: []api.Tag{}}
	for k, v := range tags {
		out.Tags = append(out.Tags, api.Tag{Key: new(k), Value: new(v)})
	}
	slices.SortFunc(out.Tags, func(a, b api.Tag) int { return strings.Compare(*a.Key, *b.Key) })
	return out, nil
}
