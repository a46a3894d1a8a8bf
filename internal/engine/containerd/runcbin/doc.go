// Package runcbin holds the runc binary when the program was built with the tag
// embedrunc; the binary itself is built from source by build/runc and is not in git.
package runcbin
