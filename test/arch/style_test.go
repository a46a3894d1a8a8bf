package arch

import (
	"bytes"
	"go/ast"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// The budgets. What outgrows one wants a better name for a part of it.
const (
	maxFileLines        = 600
	maxFunctionLines    = 80
	maxInterfaceMethods = 6
)

func written(f *file) bool { return !f.generated }

func TestFileSize(t *testing.T) {
	for _, f := range files(t, func(f *file) bool { return written(f) && !f.test }) {
		if n := lines(f.src); n > maxFileLines {
			t.Errorf("%s has %d lines, more than %d: a part of it wants a name and a file of its own", f.path, n, maxFileLines)
		}
	}
}

func TestFunctionSize(t *testing.T) {
	for _, f := range files(t, func(f *file) bool { return written(f) && !f.test && !under(f.dir, "cmd") }) {
		for _, d := range f.ast.Decls {
			if fn, ok := d.(*ast.FuncDecl); ok && spanned(fn) > maxFunctionLines {
				t.Errorf("%s:%d: %s has %d lines, more than %d: a part of it wants a name", f.path, line(fn), fn.Name.Name, spanned(fn), maxFunctionLines)
			}
		}
	}
}

func TestPackageComments(t *testing.T) {
	documented := map[string]bool{}
	first := map[string]string{}
	for _, f := range files(t, func(f *file) bool { return !f.test }) {
		if first[f.dir] == "" {
			first[f.dir] = f.path
		}
		if f.ast.Doc != nil && (strings.HasPrefix(f.ast.Doc.Text(), "Package "+f.ast.Name.Name) || strings.HasPrefix(f.ast.Doc.Text(), "Command ")) {
			documented[f.dir] = true
		}
	}
	for dir, path := range first {
		if !documented[dir] {
			t.Errorf("%s: package has no comment of the form %q: a reader should know what a package is for before its code", path, "Package … does …")
		}
	}
}

func TestExportedIdentifiersAreDocumented(t *testing.T) {
	for _, f := range files(t, func(f *file) bool { return written(f) && !f.test && under(f.dir, "internal") }) {
		for _, d := range f.ast.Decls {
			switch d := d.(type) {
			case *ast.FuncDecl:
				if d.Name.IsExported() && d.Doc == nil && exportedReceiver(d) {
					t.Errorf("%s:%d: %s has no comment: exported identifiers say contract, units and errors", f.path, line(d), d.Name.Name)
				}
			case *ast.GenDecl:
				checkSpecs(t, f, d)
			}
		}
	}
}

// exportedReceiver is true for functions and for methods that other packages can see.
func exportedReceiver(d *ast.FuncDecl) bool {
	if d.Recv == nil {
		return true
	}
	x := d.Recv.List[0].Type
	for {
		switch v := x.(type) {
		case *ast.StarExpr:
			x = v.X
		case *ast.IndexExpr:
			x = v.X
		case *ast.IndexListExpr:
			x = v.X
		case *ast.Ident:
			return v.IsExported()
		default:
			return false
		}
	}
}

func checkSpecs(t *testing.T, f *file, d *ast.GenDecl) {
	t.Helper()
	for _, s := range d.Specs {
		if ts, ok := s.(*ast.TypeSpec); ok && ts.Name.IsExported() && ts.Doc == nil && d.Doc == nil {
			t.Errorf("%s:%d: type %s has no comment: exported identifiers say their contract", f.path, line(ts), ts.Name.Name)
		}
		if vs, ok := s.(*ast.ValueSpec); ok && vs.Names[0].IsExported() && vs.Doc == nil && d.Doc == nil && vs.Comment == nil {
			t.Errorf("%s:%d: %s has no comment: exported identifiers say their contract", f.path, line(vs), vs.Names[0].Name)
		}
	}
}

func TestInterfacesAreSmall(t *testing.T) {
	for _, f := range files(t, func(f *file) bool { return written(f) && !f.test }) {
		ast.Inspect(f.ast, func(n ast.Node) bool {
			ts, ok := n.(*ast.TypeSpec)
			if !ok {
				return true
			}
			if it, ok := ts.Type.(*ast.InterfaceType); ok && it.Methods.NumFields() > maxInterfaceMethods {
				t.Errorf("%s:%d: interface %s has %d methods, more than %d: optional abilities are further small interfaces, owned by the caller",
					f.path, line(ts), ts.Name.Name, it.Methods.NumFields(), maxInterfaceMethods)
			}
			return true
		})
	}
}

func TestTimeIsAnArgument(t *testing.T) {
	for _, f := range files(t, func(f *file) bool { return !f.test && written(f) }) {
		if !under(f.dir, "internal/control") && !under(f.dir, "internal/scale") && !under(f.dir, "internal/app") && f.dir != "internal/vpc" && f.dir != "internal/waf" {
			continue
		}
		for _, n := range f.calls("time", "Now", "Since", "Until", "Sleep", "After", "Tick", "AfterFunc") {
			t.Errorf("%s:%d: the clock is read in a part that decides: time is an argument there, so that it can be simulated", f.path, line(n))
		}
	}
}

func TestTestsDoNotSleep(t *testing.T) {
	for _, f := range files(t, func(f *file) bool { return f.test }) {
		if f.importName("testing/synctest") != "" {
			continue // inside a bubble a sleep takes no time
		}
		for _, n := range f.calls("time", "Sleep") {
			t.Errorf("%s:%d: a test sleeps: it is slow when it works and wrong when the machine is busy; poll with a deadline, inject the clock or use testing/synctest", f.path, line(n))
		}
	}
}

func TestNoHiddenInit(t *testing.T) {
	for _, f := range files(t, func(f *file) bool { return under(f.dir, "internal") && written(f) && !f.test }) {
		for _, d := range f.ast.Decls {
			if fn, ok := d.(*ast.FuncDecl); ok && fn.Recv == nil && fn.Name.Name == "init" {
				t.Errorf("%s:%d: init function: everything is wired by hand in cmd/funade, in an order that can be read", f.path, line(fn))
			}
		}
	}
}

// unfinished and foreign are written in pieces so that they do not find themselves.
var (
	unfinished = regexp.MustCompile(`\b(TO` + `DO|FIX` + `ME|XX` + `X)\b|not yet impl` + `emented|not impl` + `emented yet`)
	foreign    = regexp.MustCompile(`(^|[\s"'(=])/wo` + `rk/|/fa` + `rm/|\.\./sha` + `red/|/opt/tf-` + `plugins`)
)

// TestTextsAreFinished looks at every text file that belongs to the repository.
func TestTextsAreFinished(t *testing.T) {
	out, err := exec.Command("git", "-C", root(), "ls-files", "-co", "--exclude-standard").Output()
	if err != nil {
		t.Fatalf("cannot list the repository's files: %v", err)
	}
	for _, path := range strings.Fields(string(out)) {
		data, err := os.ReadFile(filepath.Join(root(), path))
		if err != nil || bytes.IndexByte(data[:min(len(data), 8000)], 0) >= 0 || strings.HasSuffix(path, "go.sum") {
			continue // deleted, a folder's link, or not a text
		}
		for i, l := range strings.Split(string(data), "\n") {
			if m := unfinished.FindString(l); m != "" {
				t.Errorf("%s:%d: %q: finish it or open an issue; the code holds no wishes", path, i+1, m)
			}
			if m := foreign.FindString(l); m != "" {
				t.Errorf("%s:%d: %q names a place on somebody's machine", path, i+1, m)
			}
		}
	}
}

// TestNoBinaries keeps what a build makes out of the history.
func TestNoBinaries(t *testing.T) {
	out, err := exec.Command("git", "-C", root(), "ls-files", "-s").Output()
	if err != nil {
		t.Fatalf("cannot list the repository's files: %v", err)
	}
	for l := range strings.Lines(string(out)) {
		_, path, _ := strings.Cut(strings.TrimSpace(l), "\t")
		st, err := os.Stat(filepath.Join(root(), path))
		if err == nil && st.Size() > 1<<20 {
			t.Errorf("%s has %d bytes: what a build makes does not belong into the repository", path, st.Size())
		}
	}
}
