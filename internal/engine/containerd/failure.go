package containerd

import (
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"strings"
	"syscall"
	"time"

	"github.com/containerd/platforms"

	"github.com/funade/funade/internal/app"
	"github.com/funade/funade/internal/engine"
)

// startWindow is how soon after its start an exit can be the runtime's own, which speaks
// through the log.
const startWindow = 5 * time.Second

var (
	missingCommand = regexp.MustCompile(`exec:? "?([^":]+)"?:? (?:stat [^:]+: )?(?:executable file not found|no such file or directory)`)
	deniedCommand  = regexp.MustCompile(`exec:? "?([^":]+)"?:? (?:stat [^:]+: )?permission denied`)
)

// startError says in words why an instance did not start. Everything that only a new
// image or command can mend is KindInvalidRequest.
func startError(in engine.Instance, err error) *app.Error {
	id, text := string(in.ID), err.Error()
	if words := commandFailure(text); words != "" {
		return app.Errorf(app.KindInvalidRequest, id, "%s", words)
	}
	if errors.Is(err, syscall.ENOSPC) || strings.Contains(text, syscall.ENOSPC.Error()) {
		return app.Errorf(app.KindUnavailable, id, "cannot start instance %s: the disk is full", in.ID)
	}
	return app.Errorf(app.KindUnavailable, id, "cannot start instance %s: %w", in.ID, err)
}

// commandFailure recognises the runtime's words for a command that cannot be executed; "" = none of them.
func commandFailure(text string) string {
	switch {
	case strings.Contains(text, "exec format error"):
		machine := platforms.DefaultString()
		return fmt.Sprintf("the command is not a program for this machine (exec format error); build the image for %s", machine)
	case deniedCommand.MatchString(text):
		return fmt.Sprintf("the command %q may not be executed (permission denied); make it executable in the image", deniedCommand.FindStringSubmatch(text)[1])
	case missingCommand.MatchString(text):
		return fmt.Sprintf("the command %q does not exist in the image (executable file not found); check ENTRYPOINT, CMD and StartCommand", missingCommand.FindStringSubmatch(text)[1])
	}
	return ""
}

// exitFailure explains an exit where the code alone would not; "" = the application's own affair.
func exitFailure(s engine.Status, memory string) string {
	if s.OOMKilled {
		return fmt.Sprintf("it used more than its %s MiB of memory and was killed", memory)
	}
	switch s.ExitCode {
	case 1, 126, 127, 255:
		if s.StartedAt.IsZero() || s.ExitedAt.Sub(s.StartedAt) > startWindow {
			return ""
		}
		lines, err := TailLog(s.LogPath, 1)
		if err != nil || len(lines) == 0 || !strings.HasPrefix(lines[0], "exec ") && !strings.Contains(lines[0], "exec:") {
			return ""
		}
		return commandFailure(lines[0])
	}
	return ""
}

// tailBytes bounds how much of a log TailLog reads.
const tailBytes = 64 << 10

// TailLog returns the last n lines of a log, oldest first, without line ends; lines that
// begin before the last 64 KiB and bytes of a punched hole are left out.
func TailLog(path string, n int) ([]string, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("cannot read log: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("cannot read log: %w", err)
	}
	from := max(0, info.Size()-tailBytes)
	data, err := io.ReadAll(io.NewSectionReader(f, from, tailBytes))
	if err != nil {
		return nil, fmt.Errorf("cannot read log: %w", err)
	}
	text := strings.TrimRight(string(data), "\n")
	if i := strings.LastIndexByte(text, 0); i >= 0 {
		text = text[i+1:]
	} else if _, rest, ok := strings.Cut(text, "\n"); ok && from > 0 {
		text = rest
	}
	if text == "" {
		return nil, nil
	}
	lines := strings.Split(text, "\n")
	return lines[max(0, len(lines)-n):], nil
}
