//go:build embedshim

package runcbin

import _ "embed"

//go:embed shim
var shim []byte

// Shim returns the embedded slim shim, nil when the program was built without one.
func Shim() []byte { return shim }
