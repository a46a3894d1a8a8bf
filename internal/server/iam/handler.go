// Package iam answers the AWS IAM API.
package iam

import (
	"context"
	"time"

	api "github.com/funade/funade/internal/aws/api/iam"
	"github.com/funade/funade/internal/aws/wire"
	"github.com/funade/funade/internal/server/member"
)

// Handler implements the generated IAM handler.
type Handler struct {
	api.Unimplemented
	// created is when the account's root came to be.
	created time.Time
}

// New returns the handler; created is when the install was made.
func New(created time.Time) *Handler { return &Handler{created: created} }

// GetUser shows the caller; the account's root is the only user.
func (h *Handler) GetUser(ctx context.Context, in *api.GetUserInput) (*api.GetUserOutput, error) {
	c, _ := wire.CallerFrom(ctx)
	if in.UserName != nil && *in.UserName != c.UserName {
		return nil, &api.NoSuchEntityException{Message: "The user with name " + *in.UserName + " cannot be found."}
	}
	user := &api.User{
		Path: new("/"), UserName: member.Text(c.UserName), UserId: member.Text(c.UserID), Arn: member.Text(c.ARN), CreateDate: new(h.created),
	}
	if user.UserName == nil {
		user.UserName = new("root")
	}
	return &api.GetUserOutput{User: user}, nil
}
