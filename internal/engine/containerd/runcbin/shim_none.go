//go:build !embedshim

package runcbin

// Shim returns the embedded slim shim, nil when the program was built without one.
func Shim() []byte { return nil }
