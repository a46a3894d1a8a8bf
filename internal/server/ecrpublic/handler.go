// Package ecrpublic answers the one operation of the ECR Public API that logging in needs.
package ecrpublic

import (
	"context"

	api "github.com/funade/funade/internal/aws/api/ecrpublic"
	"github.com/funade/funade/internal/server/ecr"
)

// Handler implements the generated ECR Public handler.
type Handler struct {
	api.Unimplemented
	tokens ecr.Tokens
}

// New returns the handler.
func New(t ecr.Tokens) *Handler { return &Handler{tokens: t} }

// GetAuthorizationToken makes a password for docker login.
func (h *Handler) GetAuthorizationToken(ctx context.Context, _ *api.GetAuthorizationTokenInput) (*api.GetAuthorizationTokenOutput, error) {
	token, expires := ecr.AuthorizationToken(ctx, h.tokens)
	return &api.GetAuthorizationTokenOutput{AuthorizationData: &api.AuthorizationData{AuthorizationToken: &token, ExpiresAt: &expires}}, nil
}
