package serverinfo

import (
	"errors"
	"io/fs"
	"os"
	"strings"
	"testing"
)

func TestWriteThenRead(t *testing.T) {
	dir := t.TempDir()
	want := Info{API: "http://127.0.0.1:4566", HTTP: "127.0.0.1:80", HTTPS: "127.0.0.1:443", Domain: "apps.localhost",
		Region: "us-east-1", Account: "000000000000", InstallID: "0123abcd", Version: "1.0"}
	if err := Write(dir, want); err != nil {
		t.Fatal(err)
	}
	got, err := Read(dir)
	if err != nil {
		t.Fatal(err)
	}
	if got != want {
		t.Errorf("read %+v, want %+v", got, want)
	}
	st, err := os.Stat(Path(dir))
	if err != nil {
		t.Fatal(err)
	}
	if st.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, want 0600", st.Mode().Perm())
	}
}

func TestReadSaysWhatIsWrong(t *testing.T) {
	dir := t.TempDir()
	if _, err := Read(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("missing file: %v, want fs.ErrNotExist", err)
	}
	for content, want := range map[string]string{"{": "unexpected end", "{}": "names no API address"} {
		if err := os.WriteFile(Path(dir), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Read(dir); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("content %q: error %v, want %q in it", content, err, want)
		}
	}
}
