package main

import (
	"os"
	"path/filepath"
	"testing"
)

func TestReadServiceTellsOwnMethodsFromTheRefusal(t *testing.T) {
	root := t.TempDir()
	for path, src := range map[string]string{
		"internal/aws/api/x/service.go": "package x\ntype Handler interface { A(); B(); C() }\nvar d = Service{ID: \"The X\"}\n",
		"internal/server/x/handler.go":  "package x\ntype H struct { api.Unimplemented }\nfunc (h *H) A() {}\nfunc (H) C() {}\ntype other struct{}\nfunc (other) B() {}\n",
	} {
		full := filepath.Join(root, path)
		if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(full, []byte(src), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := readServices(root)
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != 1 || got[0].id != "The X" || got[0].working() != 2 || got[0].operations[1].working {
		t.Errorf("read %+v, want A and C working", got)
	}
}
