//go:build embedrunc

package runcbin

import _ "embed"

//go:embed runc
var binary []byte

// Binary returns the embedded runc, nil when the program was built without one.
func Binary() []byte { return binary }
