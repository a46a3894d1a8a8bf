package ec2

import (
	"github.com/funade/funade/internal/app"
	"github.com/funade/funade/internal/store"
)

// seed writes the default VPC and what belongs to it, and the prefix lists of AWS.
func (c *EC2) seed(tx *store.Tx, scope app.Scope) {
	row, ok := store.Scopes.Get(tx, scope)
	if !ok {
		return // control seeds the scope first
	}
	row.Network = true
	store.Control.Scopes.Put(tx, row)
}
