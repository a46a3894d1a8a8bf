package store

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"strings"
	"testing"
)

// TestEachTableHasOneWriter holds the rule that desired rows are written by internal/control and observed rows by
// internal/converge only, so that "who wrote this row?" has one answer.
func TestEachTableHasOneWriter(t *testing.T) {
	owners := map[string]string{"Control": "internal/control", "Observed": "internal/converge"}
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	err = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") {
			return err
		}
		rel, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		rel = filepath.ToSlash(rel)
		if strings.HasPrefix(rel, "internal/store/") || strings.HasPrefix(rel, "test/") || strings.HasSuffix(rel, "_test.go") {
			return nil
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
		if err != nil {
			return nil // the compiler says so better
		}
		ast.Inspect(file, func(n ast.Node) bool {
			s, ok := n.(*ast.SelectorExpr)
			if !ok {
				return true
			}
			pkg, ok := s.X.(*ast.Ident)
			if owner := owners[s.Sel.Name]; ok && pkg.Name == "store" && owner != "" {
				seen++
				if !strings.HasPrefix(rel, owner+"/") {
					t.Errorf("%s uses store.%s, whose only writer is %s", rel, s.Sel.Name, owner)
				}
			}
			return true
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if seen == 0 {
		t.Error("no writer was found: this test looks at the wrong files")
	}
}
