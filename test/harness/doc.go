// Package harness runs the real funade program for tests: in network and mount namespaces of their own, so that
// nothing reaches this machine's network and what is left over vanishes with the test process, each server with its
// own data directory and free ports, purged at the end.
package harness
