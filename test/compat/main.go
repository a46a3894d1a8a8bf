// Command compat writes docs/compat.md: which operations of each served AWS API work. An operation works when the
// server's handler has a method of its own for it instead of the generated refusal.
//
//	go run ./test/compat           write
//	go run ./test/compat -check    compare only; exit status 1 when the file is out of date
package main

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

const (
	outFile     = "docs/compat.md"
	apiDir      = "internal/aws/api"
	serverDir   = "internal/server"
	conformance = "test/conformance/EXPECTED.md"
)

func main() {
	check := flag.Bool("check", false, "compare instead of writing")
	flag.Parse()
	if err := run(*check); err != nil {
		fmt.Fprintln(os.Stderr, "compat:", err)
		os.Exit(1)
	}
}

func run(check bool) error {
	services, err := readServices(".")
	if err != nil {
		return err
	}
	text, err := render(services)
	if err != nil {
		return err
	}
	if !check {
		if err := os.MkdirAll(filepath.Dir(outFile), 0o755); err != nil {
			return fmt.Errorf("cannot write %s: %w", outFile, err)
		}
		return os.WriteFile(outFile, text, 0o644)
	}
	have, err := os.ReadFile(outFile)
	if err != nil {
		return fmt.Errorf("cannot compare: %w", err)
	}
	if !bytes.Equal(have, text) {
		return errors.New(outFile + " differs from what the handlers say; run go run ./test/compat")
	}
	return nil
}

// service is one generated API with what the server makes of it.
type service struct {
	name       string
	id         string // the name that AWS' model gives
	operations []operation
}

type operation struct {
	name    string
	working bool
}

func (s *service) working() int {
	n := 0
	for _, o := range s.operations {
		if o.working {
			n++
		}
	}
	return n
}

func readServices(root string) ([]service, error) {
	entries, err := os.ReadDir(filepath.Join(root, apiDir))
	if err != nil {
		return nil, fmt.Errorf("cannot list the generated APIs: %w", err)
	}
	var out []service
	for _, e := range entries {
		if !e.IsDir() {
			continue
		}
		s, err := readService(root, e.Name())
		if err != nil {
			return nil, fmt.Errorf("cannot read API %s: %w", e.Name(), err)
		}
		out = append(out, s)
	}
	return out, nil
}

func readService(root, name string) (service, error) {
	s := service{name: name}
	generated, err := parseDir(filepath.Join(root, apiDir, name))
	if err != nil {
		return s, err
	}
	methods := map[string]bool{}
	handlers, err := parseDir(filepath.Join(root, serverDir, name))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return s, err
	}
	for typ := range embedders(handlers) {
		for m := range methodsOf(handlers, typ) {
			methods[m] = true
		}
	}
	for _, f := range generated {
		ast.Inspect(f, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.TypeSpec:
				it, ok := n.Type.(*ast.InterfaceType)
				if n.Name.Name != "Handler" || !ok {
					return true
				}
				for _, m := range it.Methods.List {
					s.operations = append(s.operations, operation{m.Names[0].Name, methods[m.Names[0].Name]})
				}
			case *ast.KeyValueExpr:
				if k, ok := n.Key.(*ast.Ident); ok && k.Name == "ID" && s.id == "" {
					if v, ok := n.Value.(*ast.BasicLit); ok {
						s.id, _ = strconv.Unquote(v.Value) // it compiles, so it is a literal
					}
				}
			}
			return true
		})
	}
	if len(s.operations) == 0 {
		return s, errors.New("it has no Handler interface")
	}
	return s, nil
}

func parseDir(dir string) ([]*ast.File, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var out []*ast.File
	fset := token.NewFileSet()
	for _, e := range entries {
		if !strings.HasSuffix(e.Name(), ".go") || strings.HasSuffix(e.Name(), "_test.go") {
			continue
		}
		f, err := parser.ParseFile(fset, filepath.Join(dir, e.Name()), nil, parser.SkipObjectResolution)
		if err != nil {
			return nil, err
		}
		out = append(out, f)
	}
	return out, nil
}

// embedders are the struct types that embed the generated Unimplemented.
func embedders(files []*ast.File) map[string]bool {
	out := map[string]bool{}
	for _, f := range files {
		ast.Inspect(f, func(n ast.Node) bool {
			ts, ok := n.(*ast.TypeSpec)
			if !ok {
				return true
			}
			st, ok := ts.Type.(*ast.StructType)
			if !ok {
				return true
			}
			for _, field := range st.Fields.List {
				if sel, ok := field.Type.(*ast.SelectorExpr); ok && len(field.Names) == 0 && sel.Sel.Name == "Unimplemented" {
					out[ts.Name.Name] = true
				}
			}
			return true
		})
	}
	return out
}

func methodsOf(files []*ast.File, typ string) map[string]bool {
	out := map[string]bool{}
	for _, f := range files {
		for _, d := range f.Decls {
			fn, ok := d.(*ast.FuncDecl)
			if !ok || fn.Recv == nil {
				continue
			}
			recv := fn.Recv.List[0].Type
			if star, ok := recv.(*ast.StarExpr); ok {
				recv = star.X
			}
			if id, ok := recv.(*ast.Ident); ok && id.Name == typ {
				out[fn.Name.Name] = true
			}
		}
	}
	return out
}

func render(services []service) ([]byte, error) {
	var b bytes.Buffer
	b.WriteString("# Compatibility\n\nGenerated by `make generate` from the handlers in `internal/server`; do not edit.\n\n")
	b.WriteString("An operation that is not listed, or listed as not available, answers with the protocol's own error for an unknown\n" +
		"operation (HTTP 400), so that no client waits or takes it for done.\n\n| service | working | of |\n| --- | ---: | ---: |\n")
	for i := range services {
		s := &services[i]
		fmt.Fprintf(&b, "| [%s](#%s) | %d | %d |\n", s.id, s.name, s.working(), len(s.operations))
	}
	for i := range services {
		s := &services[i]
		fmt.Fprintf(&b, "\n## %s\n\n%s\n\n| operation | |\n| --- | --- |\n", s.name, s.id)
		for _, o := range s.operations {
			state := "not available"
			if o.working {
				state = "works"
			}
			fmt.Fprintf(&b, "| %s | %s |\n", o.name, state)
		}
	}
	expected, err := os.ReadFile(conformance)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	if err == nil {
		b.WriteString("\n")
		for l := range strings.Lines(string(expected)) {
			if strings.HasPrefix(l, "#") {
				l = "#" + l // its headings are one level below this page's
			}
			b.WriteString(l)
		}
	}
	return b.Bytes(), nil
}
