package failpoint

import (
	"errors"
	"strings"
	"testing"
)

func TestEnableAndDisable(t *testing.T) {
	boom := errors.New("boom")
	disable := Enable("test/a", func() error { return boom })
	if err := Hit("test/a"); !errors.Is(err, boom) {
		t.Errorf("Hit = %v, want boom", err)
	}
	if err := Hit("test/b"); err != nil {
		t.Errorf("another failpoint returned %v", err)
	}
	disable()
	if err := Hit("test/a"); err != nil {
		t.Errorf("Hit after disable = %v", err)
	}
}

func TestFromEnv(t *testing.T) {
	if err := FromEnv("test/c=error@3"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { Enable("test/c", nil) })
	for n, fails := range []bool{false, false, true, true} {
		if err := Hit("test/c"); (err != nil) != fails {
			t.Errorf("hit %d returned %v", n+1, err)
		}
	}
	for list, want := range map[string]string{"test/d": "expected name=", "test/d=burn": "expected name=", "test/d=kill@0": "positive number", "test/d=kill@x": "positive number"} {
		if err := FromEnv(list); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("FromEnv(%q) = %v, want an error with %q", list, err, want)
		}
	}
}
