// Package backoff spaces out repeated attempts.
package backoff

import "time"

// Delay returns the pause before attempt n (1 = after the first failure): first, doubled
// each time, at most limit.
func Delay(n int, first, limit time.Duration) time.Duration {
	d := first
	for i := 1; i < n && d < limit; i++ {
		d *= 2
	}
	return min(d, limit)
}
