// Package secrets keeps an install's own secrets: the root access key that API requests are
// signed with, and a master key that all other keys are derived from. Secret values are typed
// so that printing, logging or marshalling them by accident shows nothing.
package secrets

import (
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base32"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/funade/funade/internal/app"
	"github.com/funade/funade/internal/base/atomicfile"
)

// The files in the keyring's folder.
const (
	rootKeyFile = "root-key.json"
	masterFile  = "master.key"
	masterSize  = 32
	// maxFile bounds what is read from either, in bytes.
	maxFile = 4 << 10
)

const redacted = "[redacted]"

// Secret is a value that shows itself only to Reveal.
type Secret struct{ value string }

// NewSecret wraps a value.
func NewSecret(value string) Secret { return Secret{value} }

// Reveal returns the value.
func (s Secret) Reveal() string { return s.value }

// Format writes a placeholder for every verb.
func (s Secret) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(redacted)) }

// String returns a placeholder.
func (s Secret) String() string { return redacted }

// LogValue returns a placeholder.
func (s Secret) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalText returns a placeholder; encoding/json and others use it.
func (s Secret) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// Key is an access key of an account.
type Key struct {
	// AccessKeyID is AKIA and 16 characters of base32, as AWS forms it.
	AccessKeyID string
	// Secret has 40 characters of base64.
	Secret  Secret
	Account app.AccountID
}

// keyDocument is the form of root-key.json.
type keyDocument struct {
	AccessKeyID     string        `json:"AccessKeyId"`
	SecretAccessKey string        `json:"SecretAccessKey"`
	Account         app.AccountID `json:"Account"`
}

// Purpose separates the keys derived from the master key.
type Purpose string

// The purposes.
const (
	PurposeRegistryToken Purpose = "registry token"
	PurposePagination    Purpose = "pagination token"
)

// Keyring holds an install's secrets. Its methods are safe for concurrent use.
type Keyring struct {
	dir    string
	master []byte
	root   atomic.Pointer[Key]
	rotate sync.Mutex
}

// OpenKeyring loads the secrets in dir, or makes them at first start for an account. It refuses
// files that other users may read, and a root key of another account.
func OpenKeyring(dir string, account app.AccountID) (*Keyring, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("cannot make the folder of the secrets: %w", err)
	}
	master, err := openMaster(filepath.Join(dir, masterFile))
	if err != nil {
		return nil, fmt.Errorf("cannot open the master key: %w", err)
	}
	k := &Keyring{dir: dir, master: master}
	key, err := ReadRootKey(dir)
	if errors.Is(err, os.ErrNotExist) {
		key, err = writeRootKey(dir, account)
	}
	if err != nil {
		return nil, err
	}
	if key.Account != account {
		return nil, fmt.Errorf("cannot open the root key: %s belongs to account %s, not %s: start with --account %s, or move the file away to make a new key",
			filepath.Join(dir, rootKeyFile), key.Account, account, key.Account)
	}
	k.root.Store(&key)
	return k, nil
}

// ReadRootKey returns the root key in dir; it needs no server. os.ErrNotExist is in the chain when
// there is none yet.
func ReadRootKey(dir string) (Key, error) {
	path := filepath.Join(dir, rootKeyFile)
	data, err := readPrivate(path)
	if err != nil {
		return Key{}, fmt.Errorf("cannot read the root key: %w", err)
	}
	var doc keyDocument
	if err := json.Unmarshal(data, &doc); err != nil || doc.AccessKeyID == "" || doc.SecretAccessKey == "" || doc.Account == "" {
		return Key{}, fmt.Errorf("cannot read the root key: %s is not a key with AccessKeyId, SecretAccessKey and Account; restore it from a backup, or move it away to make a new key", path)
	}
	return Key{doc.AccessKeyID, NewSecret(doc.SecretAccessKey), doc.Account}, nil
}

// Root returns the root key in force.
func (k *Keyring) Root() Key { return *k.root.Load() }

// Lookup returns the key with an access key id.
func (k *Keyring) Lookup(accessKeyID string) (Key, bool) {
	key := k.root.Load()
	if key.AccessKeyID != accessKeyID {
		return Key{}, false
	}
	return *key, true
}

// Rotate replaces the root key; the old one stops working at once.
func (k *Keyring) Rotate() (Key, error) {
	k.rotate.Lock()
	defer k.rotate.Unlock()
	key, err := writeRootKey(k.dir, k.Root().Account)
	if err != nil {
		return Key{}, err
	}
	k.root.Store(&key)
	return key, nil
}

// Derive returns the 32-byte key for a purpose (HKDF-SHA-256 of the master key); it is the same
// at every start.
func (k *Keyring) Derive(p Purpose) []byte {
	key, err := hkdf.Key(sha256.New, k.master, nil, "funade "+string(p), 32)
	if err != nil {
		panic("secrets: cannot derive a key: " + err.Error()) // only for lengths beyond the hash's limit
	}
	return key
}

func writeRootKey(dir string, account app.AccountID) (Key, error) {
	id := "AKIA" + base32.StdEncoding.EncodeToString(random(10))
	secret := base64.StdEncoding.EncodeToString(random(30))
	data, err := json.MarshalIndent(keyDocument{id, secret, account}, "", "  ")
	if err == nil {
		err = atomicfile.Write(filepath.Join(dir, rootKeyFile), append(data, '\n'), 0o600)
	}
	if err != nil {
		return Key{}, fmt.Errorf("cannot write the root key: %w", err)
	}
	return Key{id, NewSecret(secret), account}, nil
}

func openMaster(path string) ([]byte, error) {
	data, err := readPrivate(path)
	if errors.Is(err, os.ErrNotExist) {
		data = random(masterSize)
		return data, atomicfile.Write(path, []byte(base64.StdEncoding.EncodeToString(data)+"\n"), 0o600)
	}
	if err != nil {
		return nil, err
	}
	key, err := base64.StdEncoding.DecodeString(strings.TrimSpace(string(data)))
	if err != nil || len(key) != masterSize {
		return nil, fmt.Errorf("%s is not a key of %d bytes in base64; restore it from a backup", path, masterSize)
	}
	return key, nil
}

// readPrivate reads a small file that only its owner may read.
func readPrivate(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if info.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("%s is open to other users (mode %04o): run chmod 600 on it", path, info.Mode().Perm())
	}
	if info.Size() > maxFile {
		return nil, fmt.Errorf("%s is larger than %d bytes", path, maxFile)
	}
	return os.ReadFile(path)
}

func random(n int) []byte {
	b := make([]byte, n)
	if _, err := rand.Read(b); err != nil {
		panic("secrets: no random bytes: " + err.Error())
	}
	return b
}
