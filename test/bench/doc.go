// Package bench measures the real server beside its peers, interleaved in one run, and prints each figure with its bar.
// A missed bar is told, not failed: absolute times bind on a quiet machine only. A run fails when something broke.
//
//	make bench BENCH=ship    what shipping an image costs: see ship_test.go
//	make bench BENCH=vpc     what private networks cost: see vpc_test.go
//	go test -v ./test/bench -args -bench=ship
//
// It runs as root, in namespaces of its own.
package bench
