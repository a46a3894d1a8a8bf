// Package caller turns the verified caller of a request into the scope that the request works in.
package caller

import (
	"context"

	"github.com/funade/funade/internal/app"
	"github.com/funade/funade/internal/aws/wire"
)

// Scope returns the account of the caller and the region that the request is for.
func Scope(ctx context.Context) app.Scope {
	c, _ := wire.CallerFrom(ctx)
	return app.Scope{Account: app.AccountID(c.Account), Region: app.Region(c.Region)}
}
