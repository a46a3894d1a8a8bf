package arch

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var dependencyLine = regexp.MustCompile(`(?m)^\| ([a-z0-9.-]+\.[a-z]+/\S+) \| \S.* \| \S.* \|$`)

// TestDependenciesAreListed compares what is imported with docs/decisions/dependencies.md, both ways.
func TestDependenciesAreListed(t *testing.T) {
	doc, err := os.ReadFile(filepath.Join(root(), "docs", "decisions", "dependencies.md"))
	if err != nil {
		t.Fatal(err)
	}
	used := map[string]bool{} // listed module to whether anything imports it
	for _, m := range dependencyLine.FindAllStringSubmatch(string(doc), -1) {
		used[m[1]] = false
	}
	for _, f := range files(t, func(*file) bool { return true }) {
		for _, imp := range f.imports {
			first, _, _ := strings.Cut(imp, "/")
			if !strings.Contains(first, ".") || under(imp, module) {
				continue
			}
			best := ""
			for m := range used {
				if under(imp, m) && len(m) > len(best) {
					best = m
				}
			}
			if best == "" {
				t.Errorf("%s imports %s: its module has no line in docs/decisions/dependencies.md; say there what it is for", f.path, imp)
				continue
			}
			used[best] = true
		}
	}
	for m, ok := range used {
		if !ok {
			t.Errorf("docs/decisions/dependencies.md lists %s, which nothing imports", m)
		}
	}
}
