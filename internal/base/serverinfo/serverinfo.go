// Package serverinfo is the file by which a running server tells programs on the same
// machine where it listens: server.json in the data directory. It holds no secret.
package serverinfo

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/funade/funade/internal/base/atomicfile"
)

const (
	fileName = "server.json"
	maxSize  = 64 << 10
)

// Info says where a server listens and what it serves.
type Info struct {
	// API is the base URL of the AWS API and the registry, without a trailing slash.
	API string `json:"api"`
	// HTTP and HTTPS are the front door's addresses, host:port.
	HTTP  string `json:"http"`
	HTTPS string `json:"https"`
	// Domain is the parent of every service's name.
	Domain    string `json:"domain"`
	Region    string `json:"region"`
	Account   string `json:"account"`
	InstallID string `json:"installId"`
	Version   string `json:"version"`
}

// Path returns the file's place in a data directory.
func Path(dataDir string) string { return filepath.Join(dataDir, fileName) }

// Write replaces the file, mode 0600. The server calls it once its listeners are open.
func Write(dataDir string, info Info) error {
	data, err := json.MarshalIndent(info, "", "  ")
	if err != nil {
		return fmt.Errorf("cannot encode server info: %w", err)
	}
	return atomicfile.Write(Path(dataDir), append(data, '\n'), 0o600)
}

// Read reads the file. An error wraps fs.ErrNotExist when no server has run on this data directory,
// fs.ErrPermission when it belongs to somebody else.
func Read(dataDir string) (Info, error) {
	f, err := os.Open(Path(dataDir))
	if err != nil {
		return Info{}, fmt.Errorf("cannot read server info: %w", err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxSize))
	if err != nil {
		return Info{}, fmt.Errorf("cannot read server info: %w", err)
	}
	var info Info
	if err := json.Unmarshal(data, &info); err != nil {
		return Info{}, fmt.Errorf("cannot read server info in %s: %w", Path(dataDir), err)
	}
	if info.API == "" {
		return Info{}, fmt.Errorf("cannot read server info in %s: it names no API address", Path(dataDir))
	}
	return info, nil
}
