package store

import (
	"context"
	"path/filepath"
	"testing"
)

// BenchmarkUpdate is one durable control write.
func BenchmarkUpdate(b *testing.B) {
	s, err := Open(filepath.Join(b.TempDir(), "state.db"), Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	for n := 0; b.Loop(); n++ {
		err := s.Update(context.Background(), func(tx *Tx) error {
			Control.Services.Put(tx, service(n%100))
			return nil
		})
		if err != nil {
			b.Fatal(err)
		}
	}
}
