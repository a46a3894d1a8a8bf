package bench

import (
	"context"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/funade/funade/internal/app"
	"github.com/funade/funade/internal/base/id"
	"github.com/funade/funade/internal/control"
	"github.com/funade/funade/internal/store"
)

// fill writes paused services into the store of a stopped server until there are n, and returns their ARNs: a service as
// control makes it, brought to the end of a creation and a pause, and copies of it.
func fill(t *testing.T, dataDir string, n int) []string {
	t.Helper()
	ctx := context.Background()
	scope := app.Scope{Account: "000000000000", Region: "us-east-1"}
	st, err := store.Open(filepath.Join(dataDir, "funade.db"), store.Options{})
	check(t, err)
	defer func() { check(t, st.Close()) }()
	c := control.New(st, control.Config{Quotas: control.Quotas{Services: n + 1}})
	image, kind := scope.RegistryHost()+"/app:v1", app.ImageRepositoryECR
	var arns []string
	check(t, st.View(ctx, func(tx *store.Tx) error {
		for s := range store.ServicesByScope.Each(tx, scope) {
			arns = append(arns, s.ARN())
		}
		return nil
	}))
	made, operation, err := c.CreateService(ctx, scope, control.CreateServiceInput{
		Name:   fmt.Sprintf("service-%06d", len(arns)),
		Source: control.SourceInput{Image: &control.ImageInput{Identifier: &image, Type: &kind}},
	})
	check(t, err)
	check(t, st.Update(ctx, func(tx *store.Tx) error {
		now := time.Now().UTC().Truncate(time.Millisecond)
		svc, _ := store.Services.Get(tx, made.Service.ID)
		op, _ := store.Operations.Get(tx, operation)
		rev, _ := store.Revisions.Get(tx, app.RevisionKey{Service: svc.ID, Number: 1})
		svc.Status, svc.Operation, svc.Paused = app.ServicePaused, "", 1
		op.Status, op.EndedAt, rev.Digest = app.OpSucceeded, now, app.Digest("sha256:"+id.Source{}.Hex(64))
		store.Control.ImageRequests.Delete(tx, app.RevisionKey{Service: svc.ID, Number: 1})
		for len(arns) < n {
			store.Control.Services.Put(tx, svc)
			store.Control.Operations.Put(tx, op)
			store.Control.Revisions.Put(tx, rev)
			arns = append(arns, svc.ARN())
			svc.ID, svc.Label, svc.Name = app.ServiceID(id.Source{}.Hex32()), id.Source{}.Label(), fmt.Sprintf("service-%06d", len(arns))
			op.ID, op.Service, rev.Service = app.OperationID(id.Source{}.Hex32()), svc.ID, svc.ID
		}
		return nil
	}))
	return arns
}
