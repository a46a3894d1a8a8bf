package converge

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/funade/funade/internal/app"
	"github.com/funade/funade/internal/store"
)

// Volumes removes the folders of volumes that control has no longer. The engine makes them.
type Volumes struct {
	store *store.Store
	dir   string
}

// NewVolumes returns the converger over the folder that holds all volumes; Run does its work.
func NewVolumes(s *store.Store, dir string) *Volumes { return &Volumes{s, dir} }

// Run converges until ctx ends.
func (c *Volumes) Run(ctx context.Context) {
	Loop(ctx, "volumes", func() []<-chan struct{} {
		return []<-chan struct{}{c.store.Changed(store.Volumes.Name())}
	}, time.Minute, c.pass)
}

// doomed is the suffix of a folder that is being removed: its volume can never be used again.
const doomed = ".removed"

func (c *Volumes) pass(ctx context.Context) error {
	// Before the rows are read: a volume whose folder was made later has a row.
	entries, err := os.ReadDir(c.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("cannot list volumes: %w", err)
	}
	var gone []string
	err = c.store.View(ctx, func(tx *store.Tx) error {
		for _, e := range entries {
			id := strings.TrimSuffix(e.Name(), doomed)
			if !strings.HasPrefix(id, "vol-") {
				continue // nothing of ours
			}
			if _, ok := store.Volumes.Get(tx, app.VolumeID(id)); !ok {
				gone = append(gone, e.Name())
			}
		}
		return nil
	})
	errs := []error{err}
	for _, name := range gone {
		if ctx.Err() != nil {
			break
		}
		errs = append(errs, c.remove(name))
	}
	return errors.Join(errs...)
}

func (c *Volumes) remove(name string) error {
	path := filepath.Join(c.dir, name)
	if !strings.HasSuffix(name, doomed) {
		to := path + doomed
		if err := os.Rename(path, to); err != nil {
			return fmt.Errorf("cannot remove volume %s: %w", name, err)
		}
		path = to
	}
	if err := os.RemoveAll(path); err != nil {
		return fmt.Errorf("cannot remove volume %s: %w", name, err)
	}
	slog.Info("removed volume", "volume", strings.TrimSuffix(name, doomed))
	return nil
}
