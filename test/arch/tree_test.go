package arch

import (
	"bytes"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
)

const module = "github.com/funade/funade"

// file is one Go file of the main module.
type file struct {
	path      string // slash-separated, from the root of the repository
	dir       string
	src       []byte
	ast       *ast.File
	test      bool
	generated bool
	imports   []string
}

var root = sync.OnceValue(func() string {
	dir, err := filepath.Abs("../..")
	if err != nil {
		panic(err)
	}
	return dir
})

var fset = token.NewFileSet()

// tree parses every Go file of the main module; nested modules have rules of their own.
var tree = sync.OnceValues(func() ([]*file, error) {
	var files []*file
	err := filepath.WalkDir(root(), func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root(), path)
		if err != nil {
			return err
		}
		rel = filepath.ToSlash(rel)
		if d.IsDir() {
			return skip(path, rel, d.Name())
		}
		if !strings.HasSuffix(rel, ".go") {
			return nil
		}
		f, err := parse(path, rel)
		files = append(files, f)
		return err
	})
	return files, err
})

func skip(path, rel, name string) error {
	if rel == "." {
		return nil
	}
	if strings.HasPrefix(name, ".") || name == "testdata" || rel == "bin" {
		return filepath.SkipDir
	}
	if _, err := os.Stat(filepath.Join(path, "go.mod")); err == nil {
		return filepath.SkipDir
	}
	return nil
}

var generatedLine = regexp.MustCompile(`(?m)^// Code generated .* DO NOT EDIT\.$`)

func parse(path, rel string) (*file, error) {
	src, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	parsed, err := parser.ParseFile(fset, path, src, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		return nil, err
	}
	f := &file{path: rel, dir: filepath.ToSlash(filepath.Dir(rel)), src: src, ast: parsed,
		test: strings.HasSuffix(rel, "_test.go"), generated: generatedLine.Match(src[:min(len(src), 4096)])}
	for _, i := range parsed.Imports {
		p, err := strconv.Unquote(i.Path.Value)
		if err != nil {
			return nil, err
		}
		f.imports = append(f.imports, p)
	}
	return f, nil
}

func files(t *testing.T, want func(*file) bool) []*file {
	t.Helper()
	all, err := tree()
	if err != nil {
		t.Fatal(err)
	}
	out := slices.DeleteFunc(slices.Clone(all), func(f *file) bool { return !want(f) })
	if len(out) == 0 {
		t.Fatal("the rule found no file to look at")
	}
	return out
}

// under reports whether dir is base or lies below it.
func under(dir, base string) bool { return dir == base || strings.HasPrefix(dir, base+"/") }

// lines counts a file's lines.
func lines(src []byte) int { return bytes.Count(src, []byte("\n")) }

func line(n ast.Node) int { return fset.Position(n.Pos()).Line }

// spanned is the number of lines that a node takes.
func spanned(n ast.Node) int { return fset.Position(n.End()).Line - line(n) + 1 }

// importName is the name by which a file refers to an imported package; "" when it does not import it.
func (f *file) importName(path string) string {
	for _, i := range f.ast.Imports {
		if p, err := strconv.Unquote(i.Path.Value); err != nil || p != path {
			continue
		}
		if i.Name != nil {
			return i.Name.Name
		}
		return path[strings.LastIndex(path, "/")+1:]
	}
	return ""
}

// calls returns the positions where the file calls one of the package's functions; handing one on as a value is no call.
func (f *file) calls(path string, names ...string) []ast.Node {
	alias := f.importName(path)
	if alias == "" {
		return nil
	}
	var found []ast.Node
	ast.Inspect(f.ast, func(n ast.Node) bool {
		call, ok := n.(*ast.CallExpr)
		if !ok {
			return true
		}
		if sel, ok := call.Fun.(*ast.SelectorExpr); ok && slices.Contains(names, sel.Sel.Name) {
			if x, ok := sel.X.(*ast.Ident); ok && x.Name == alias {
				found = append(found, call)
			}
		}
		return true
	})
	return found
}
