package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/funade/funade/internal/engine/containerd"
	"github.com/funade/funade/internal/vpc/linux"
)

// purge removes what a stopped server left in the system, then its data directory.
func purge(ctx context.Context, dataDir string, progress io.Writer) error {
	if _, err := os.Stat(filepath.Join(dataDir, installFile)); errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("cannot purge %s: it holds no %s, so it is not a data directory of funade", dataDir, installFile)
	}
	lock, err := lockData(dataDir)
	if err != nil {
		return err
	}
	defer lock.Close()
	in, err := openInstall(dataDir, time.Now())
	if err != nil {
		return err
	}
	fmt.Fprintln(progress, "Removing containers, images and mounts …")
	if err := containerd.Purge(ctx, engineConfig(dataDir, in, "")); err != nil {
		return err
	}
	fmt.Fprintln(progress, "Removing namespaces, interfaces and rules …")
	if err := linux.Purge(ctx, networkConfig(in)); err != nil {
		return err
	}
	fmt.Fprintln(progress, "Removing", dataDir, "…")
	return errors.Join(os.RemoveAll(in.runDir()), os.RemoveAll(dataDir))
}
