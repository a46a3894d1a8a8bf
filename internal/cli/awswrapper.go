package cli

import (
	_ "embed"
	"fmt"
	"os"
	"path/filepath"

	"github.com/funade/funade/internal/base/atomicfile"
)

// awsWrapper is a shell script; aws programs before 1.29 and 2.13 ignore AWS_ENDPOINT_URL, and it helps those.
//
//go:embed awswrapper.sh
var awsWrapper []byte

// writeAWSWrapper puts the script into a folder that env puts first in PATH. Everybody may run it: it holds no secret.
func writeAWSWrapper(binDir string) error {
	if err := os.MkdirAll(binDir, 0o755); err != nil {
		return fmt.Errorf("cannot make %s: %w", binDir, err)
	}
	path := filepath.Join(binDir, "aws")
	if old, err := os.ReadFile(path); err == nil && string(old) == string(awsWrapper) {
		return nil
	}
	return atomicfile.Write(path, awsWrapper, 0o755)
}
