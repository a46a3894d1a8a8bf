package ec2

import (
	"github.com/funade/funade/internal/app"
	"github.com/funade/funade/internal/store"
)

// findSubnet finds a subnet of the scope.
func findSubnet(tx *store.Tx, scope app.Scope, id app.SubnetID) (app.Subnet, error) {
	s, ok := store.Subnets.Get(tx, id)
	if !ok || s.Scope != scope {
		return app.Subnet{}, notFound("InvalidSubnetID.NotFound", "subnet ID", string(id))
	}
	return s, nil
}
