// Package runcbin holds the runc binary when the program was built with the tag embedrunc
// and the slim shim with the tag embedshim; build/runc/build.sh builds both from source,
// they are not in git.
package runcbin
