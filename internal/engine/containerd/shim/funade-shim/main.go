// Command funade-shim is the slim shim that the program embeds; see package shim.
package main

import (
	"fmt"
	"os"

	"github.com/funade/funade/internal/engine/containerd/shim"
)

func main() {
	shim.Main()
	fmt.Fprintf(os.Stderr, "This program is started by the engine under the name %s, not by hand.\n", shim.Name)
	os.Exit(2)
}
