package registrytest_test

import (
	"testing"
	"time"

	"github.com/funade/funade/internal/registry"
	"github.com/funade/funade/internal/registry/registrytest"
)

func TestMemory(t *testing.T) {
	registrytest.TestRows(t, func(*testing.T) registrytest.Rows {
		m := registrytest.NewMemory(time.Now)
		return registrytest.Rows{Catalog: m, Links: m, Create: m.Create, Now: time.Now}
	})
}

func TestFiles(t *testing.T) {
	dir := t.TempDir()
	registrytest.TestBlobs(t, func(t *testing.T) registry.Blobs {
		f, err := registrytest.NewFiles(dir, time.Now)
		if err != nil {
			t.Fatal(err)
		}
		return f
	})
}
