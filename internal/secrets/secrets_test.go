package secrets

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

func open(t *testing.T, dir string) *Keyring {
	t.Helper()
	k, err := OpenKeyring(dir, "000000000000")
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestKeyringLastsAndIsPrivate(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "secrets")
	first := open(t, dir)
	key := first.Root()
	if !regexp.MustCompile(`^AKIA[A-Z2-7]{16}$`).MatchString(key.AccessKeyID) {
		t.Errorf("access key id %q", key.AccessKeyID)
	}
	if !regexp.MustCompile(`^[A-Za-z0-9+/]{40}$`).MatchString(key.Secret.Reveal()) {
		t.Errorf("the secret has %d characters or odd ones", len(key.Secret.Reveal()))
	}
	for _, name := range []string{rootKeyFile, masterFile} {
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", name, info, err)
		}
	}
	second := open(t, dir)
	if second.Root() != key {
		t.Error("the root key changed at the second start")
	}
	if !bytes.Equal(first.Derive(PurposePagination), second.Derive(PurposePagination)) {
		t.Error("derived keys change at the second start")
	}
	if bytes.Equal(first.Derive(PurposePagination), first.Derive(PurposeRegistryToken)) {
		t.Error("two purposes have one key")
	}
	if read, err := ReadRootKey(dir); err != nil || read != key {
		t.Errorf("ReadRootKey: %v", err)
	}
}

func TestRotate(t *testing.T) {
	dir := t.TempDir()
	k := open(t, dir)
	old := k.Root()
	key, err := k.Rotate()
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := k.Lookup(old.AccessKeyID); ok {
		t.Error("the old key still works")
	}
	if got, ok := k.Lookup(key.AccessKeyID); !ok || got != key || got == old {
		t.Error("the new key does not work")
	}
	if read, err := ReadRootKey(dir); err != nil || read != key {
		t.Errorf("the file does not hold the new key: %v", err)
	}
}

func TestSecretsDoNotPrint(t *testing.T) {
	k := open(t, t.TempDir())
	key := k.Root()
	secret := key.Secret.Reveal()
	var log bytes.Buffer
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "key", key, "secret", key.Secret)
	slog.New(slog.NewTextHandler(&log, nil)).Info("x", "key", key, "pointer", &key)
	marshalled, err := json.Marshal(key)
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{
		fmt.Sprintf("%v %+v %#v %s %q %x %d", key, key, key, key.Secret, key.Secret, key.Secret, key.Secret),
		fmt.Sprintf("%v %+v", &key, k.root.Load()), fmt.Sprint(key.Secret), log.String(), string(marshalled),
	} {
		if strings.Contains(text, secret) || strings.Contains(text, fmt.Sprintf("%x", secret)) {
			t.Errorf("the secret shows")
		}
		if !strings.Contains(text, redacted) {
			t.Errorf("no placeholder in %q", text)
		}
	}
}

func TestRefusals(t *testing.T) {
	write := func(name, content string, mode os.FileMode) string {
		dir := t.TempDir()
		open(t, dir)
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		return dir
	}
	for name, dir := range map[string]string{
		"broken document": write(rootKeyFile, "{", 0o600),
		"missing field":   write(rootKeyFile, `{"AccessKeyId":"AKIA","Account":"000000000000"}`, 0o600),
		"open to others":  write(rootKeyFile, `{"AccessKeyId":"AKIA","SecretAccessKey":"s3cr3t","Account":"000000000000"}`, 0o644),
		"other account":   write(rootKeyFile, `{"AccessKeyId":"AKIA","SecretAccessKey":"s3cr3t","Account":"111111111111"}`, 0o600),
		"short master":    write(masterFile, "AAAA", 0o600),
		"huge file":       write(masterFile, strings.Repeat("A", maxFile+1), 0o600),
	} {
		_, err := OpenKeyring(dir, "000000000000")
		if err == nil || strings.Contains(err.Error(), "s3cr3t") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := ReadRootKey(t.TempDir()); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no key: %v", err)
	}
}
