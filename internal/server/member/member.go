// Package member converts between the optional members of generated shapes, where nil is absent on the
// wire, and plain values, where the zero value stands for absent.
package member

import "time"

// Value returns what p points to, the zero value when absent.
func Value[T any](p *T) T {
	if p == nil {
		var zero T
		return zero
	}
	return *p
}

// Text returns nil for an empty text.
func Text[S ~string](s S) *string {
	if s == "" {
		return nil
	}
	return new(string(s))
}

// Moment returns nil for the zero time.
func Moment(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

// Int32 returns n as the wire's integer.
func Int32(n int) *int32 { return new(int32(n)) }

// Int returns the wire's integer as an optional int.
func Int(n *int32) *int {
	if n == nil {
		return nil
	}
	return new(int(*n))
}

// Millis returns a time as CloudWatch Logs writes it, milliseconds since 1970; nil for the zero time.
func Millis(t time.Time) *int64 {
	if t.IsZero() {
		return nil
	}
	return new(t.UnixMilli())
}
