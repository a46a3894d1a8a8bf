package containerd

import (
	"path/filepath"

	"github.com/containerd/containerd/v2/pkg/cio"
)

// output makes the shim append a process's output to a file by itself.
type output struct{ config cio.Config }

// appendTo names the file twice in different spellings: the shim then opens it once for stdout and once for stderr.
// By one name (cio.LogFile) it shares one descriptor, which the end of stdout closes under stderr's last words.
func appendTo(path string) cio.Creator {
	dir, name := filepath.Split(path)
	return func(string) (cio.IO, error) {
		return output{cio.Config{Stdout: path, Stderr: dir + "./" + name}}, nil
	}
}

// Config returns the files.
func (o output) Config() cio.Config { return o.config }

// Cancel has nothing to cancel: the shim copies.
func (output) Cancel() {}

// Wait has nothing to wait for: the shim copies.
func (output) Wait() {}

// Close has nothing to close.
func (output) Close() error { return nil }
