package main

import (
	"bytes"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
)

const outDir = "../api"

func main() {
	check := flag.Bool("check", false, "compare with the generated files instead of writing them")
	flag.Parse()
	if err := run(*check); err != nil {
		fmt.Fprintln(os.Stderr, "gen:", err)
		os.Exit(1)
	}
}

// run generates all packages in memory, then writes them or compares them with what is there.
func run(check bool) error {
	root, err := modelRoot()
	if err != nil {
		return err
	}
	files := map[string][]byte{}
	for _, s := range services {
		m, err := readModel(root, s.model)
		if err != nil {
			return err
		}
		p, err := newPlan(s, m)
		if err != nil {
			return err
		}
		if err := p.emit(files); err != nil {
			return fmt.Errorf("cannot generate %s: %w", s.pkg, err)
		}
	}
	if check {
		return compare(files)
	}
	return write(files)
}

// leftOver lists files under the output folder that are not in the generated set.
func leftOver(files map[string][]byte) ([]string, error) {
	found, err := filepath.Glob(filepath.Join(outDir, "*", "*"))
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(found, func(path string) bool {
		rel, err := filepath.Rel(outDir, path)
		return err != nil || files[rel] != nil
	}), nil
}

func compare(files map[string][]byte) error {
	drift, err := leftOver(files)
	if err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		path := filepath.Join(outDir, name)
		have, err := os.ReadFile(path)
		if err != nil || !bytes.Equal(have, files[name]) {
			drift = append(drift, path)
		}
	}
	if len(drift) > 0 {
		return fmt.Errorf("generated files differ from the models, run `go run .` in internal/aws/gen: %v", drift)
	}
	return nil
}

func write(files map[string][]byte) error {
	stale, err := leftOver(files)
	if err != nil {
		return err
	}
	for _, path := range stale {
		if err := os.Remove(path); err != nil {
			return fmt.Errorf("cannot remove stale file: %w", err)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		path := filepath.Join(outDir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return fmt.Errorf("cannot create package folder: %w", err)
		}
		if err := os.WriteFile(path, files[name], 0o644); err != nil {
			return fmt.Errorf("cannot write generated file: %w", err)
		}
	}
	return nil
}
