package backoff

import (
	"testing"
	"time"
)

func TestDelay(t *testing.T) {
	for n, want := range map[int]time.Duration{
		0: 100 * time.Millisecond, 1: 100 * time.Millisecond, 2: 200 * time.Millisecond, 3: 400 * time.Millisecond,
		6: 3200 * time.Millisecond, 7: 5 * time.Second, 1 << 30: 5 * time.Second,
	} {
		if got := Delay(n, 100*time.Millisecond, 5*time.Second); got != want {
			t.Errorf("Delay(%d) = %v, want %v", n, got, want)
		}
	}
}
