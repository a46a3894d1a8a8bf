// Package crash kills the real server, fills its disk and takes away what a reboot takes, and checks what must be true
// afterwards: containers keep their processes, every acknowledged operation ends, nothing is left that no row claims,
// every log line is there once.
//
//	FUNADE_CRASH_SEED=n   repeats the moments of a run
//	FUNADE_CRASH_KILLS=n  makes the loop longer
package crash
