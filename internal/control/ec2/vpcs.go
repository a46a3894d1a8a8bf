package ec2

import (
	"github.com/funade/funade/internal/app"
	"github.com/funade/funade/internal/store"
)

// findVPC finds a VPC of the scope.
func findVPC(tx *store.Tx, scope app.Scope, id app.VPCID) (app.VPC, error) {
	v, ok := store.VPCs.Get(tx, id)
	if !ok || v.Scope != scope {
		return app.VPC{}, notFound("InvalidVpcID.NotFound", "vpc ID", string(id))
	}
	return v, nil
}
