// Package sim runs the control plane against a simulated world: seeded random calls, deaths of
// containers, reboots, and crashes of the server at commits and effects, on a fake clock. After a
// calm it checks that nothing leaked, no operation is stuck and every service has its full strength.
//
// make sim SEEDS=1000 (go test ./test/sim -seeds 1000) runs that many seeds; -seed 17 runs one, with its story on failure.
package sim
