package control

import (
	"testing"
	"time"

	"github.com/funade/funade/internal/app"
	"github.com/funade/funade/internal/registry/registrytest"
)

// TestCatalog runs the registry's suite over control's rows.
func TestCatalog(t *testing.T) {
	registrytest.TestRows(t, func(t *testing.T) registrytest.Rows {
		b := newBench(t)
		create := func(key app.RepositoryKey, immutable bool) {
			if _, err := b.CreateRepository(ctx, key, CreateRepositoryInput{Immutable: immutable}); err != nil {
				t.Fatal(err)
			}
		}
		catalog := b.Catalog()
		return registrytest.Rows{Catalog: catalog, Links: catalog, Create: create, Now: func() time.Time { return b.now }}
	})
}
