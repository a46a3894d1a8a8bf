package logs

import (
	"context"

	"github.com/funade/funade/internal/app"
)

// Groups is the log store's view of the control rows. Every method is one transaction.
type Groups interface {
	// Ensure makes the group and the stream exist.
	Ensure(ctx context.Context, key app.LogStreamKey) error
	// All returns every group of the install, for retention and the byte cap.
	All(ctx context.Context) ([]app.LogGroup, error)
}
