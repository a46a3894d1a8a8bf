//go:build !embedrunc

package runcbin

// Binary returns the embedded runc, nil when the program was built without one.
func Binary() []byte { return nil }
