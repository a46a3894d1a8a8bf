package control

import (
	"fmt"
	"testing"

	"github.com/funade/funade/internal/store"
)

// filled is a control plane with n services.
func filled(b *testing.B, n int) (*bench, []string) {
	bench := newBench(b)
	bench.cfg.Quotas.Services = n + 1
	arns := make([]string, n)
	for k := range arns {
		arns[k] = bench.createARN(fmt.Sprintf("service-%06d", k))
	}
	return bench, arns
}

func BenchmarkDescribeService(b *testing.B) {
	for _, n := range []int{1_000, 10_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			bench, arns := filled(b, n)
			for k := 0; b.Loop(); k++ {
				if _, err := bench.DescribeService(ctx, scope, arns[k*7919%n]); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkListServices(b *testing.B) {
	for _, n := range []int{1_000, 10_000} {
		for _, size := range []int{20, 0} {
			b.Run(fmt.Sprintf("%d/page=%d", n, size), func(b *testing.B) {
				bench, _ := filled(b, n)
				for b.Loop() {
					page, err := bench.ListServices(ctx, scope, PageRequest{MaxResults: size})
					if err != nil || len(page.Items) == 0 {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

// BenchmarkOpen is the store's part of the server's start with 1,000 services.
func BenchmarkOpen(b *testing.B) {
	bench, _ := filled(b, 1_000)
	path := b.TempDir() + "/copy.db"
	copyStore(b, bench, path)
	for b.Loop() {
		st, err := store.Open(path, store.Options{})
		if err != nil {
			b.Fatal(err)
		}
		if err := st.Close(); err != nil {
			b.Fatal(err)
		}
	}
}

// copyStore writes every service's rows into another store.
func copyStore(b *testing.B, from *bench, path string) {
	to, err := store.Open(path, store.Options{NoSync: true})
	if err != nil {
		b.Fatal(err)
	}
	err = from.store.View(ctx, func(old *store.Tx) error {
		return to.Update(ctx, func(tx *store.Tx) error {
			for r := range store.Services.All(old) {
				store.Control.Services.Put(tx, r)
			}
			for r := range store.Revisions.All(old) {
				store.Control.Revisions.Put(tx, r)
			}
			for r := range store.Operations.All(old) {
				store.Control.Operations.Put(tx, r)
			}
			for r := range store.Events.All(old) {
				store.Control.Events.Put(tx, r)
			}
			return nil
		})
	})
	if err != nil {
		b.Fatal(err)
	}
	if err := to.Close(); err != nil {
		b.Fatal(err)
	}
}
