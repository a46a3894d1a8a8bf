package containerd

import (
	"slices"
	"testing"

	"github.com/funade/funade/internal/engine/enginetest"
)

// The end of one stream must not cut off the other.
func TestStderrOutlivesStdout(t *testing.T) {
	h := harness(t, testConfig(t))
	in := h.Instance(t, enginetest.Program{Actions: []string{"print=out", "mute", "complain=last words", "exit=3"}})
	h.Ensure(t, in)
	s := h.Stopped(t, in.ID)
	lines, err := TailLog(s.LogPath, 10)
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(lines)
	if want := []string{"last words", "out"}; !slices.Equal(lines, want) {
		t.Errorf("the log holds %q, want %q in any order", lines, want)
	}
}
