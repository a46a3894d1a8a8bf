package containerd

import (
	"os"

	"github.com/funade/funade/internal/app"
)

// LogPath returns the file that holds an instance's output, "" when there is none (any more).
func (e *Engine) LogPath(id app.InstanceID) string {
	path := e.cfg.logPath(id)
	if _, err := os.Stat(path); err != nil {
		return ""
	}
	return path
}
