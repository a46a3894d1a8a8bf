// Package sts answers the AWS STS API.
package sts

import (
	"context"

	api "github.com/funade/funade/internal/aws/api/sts"
	"github.com/funade/funade/internal/aws/wire"
	"github.com/funade/funade/internal/server/member"
)

// Handler implements the generated STS handler.
type Handler struct{ api.Unimplemented }

// GetCallerIdentity says who signed the request.
func (Handler) GetCallerIdentity(ctx context.Context, _ *api.GetCallerIdentityInput) (*api.GetCallerIdentityOutput, error) {
	c, _ := wire.CallerFrom(ctx)
	return &api.GetCallerIdentityOutput{UserId: member.Text(c.UserID), Account: member.Text(c.Account), Arn: member.Text(c.ARN)}, nil
}
