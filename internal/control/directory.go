package control

import (
	"context"

	"github.com/funade/funade/internal/app"
	"github.com/funade/funade/internal/store"
)

// Repositories returns a page of the scope's repository names in byte order after the given one.
func (k *Catalog) Repositories(ctx context.Context, scope app.Scope, after string, limit int) ([]string, error) {
	var names []string
	err := k.c.store.View(ctx, func(tx *store.Tx) error {
		position := ""
		if after != "" {
			position = after + "\x00"
		}
		rows, _ := store.RepositoriesByScope.Page(tx, scope, position, limit, nil)
		for _, r := range rows {
			names = append(names, r.Key.Name)
		}
		return nil
	})
	return names, err
}
