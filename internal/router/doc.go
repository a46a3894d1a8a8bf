// Package router is the front door: it takes TLS and plain HTTP connections from listeners
// that it is given, finds the service by host in an immutable table behind one atomic
// pointer, sends each request to the healthy instance with the fewest requests in flight,
// and streams both ways. It counts exactly what is in flight per instance and per service,
// so that an instance can be drained before it is stopped.
//
// The table is a plain value that can be serialised; sockets and upstream connections come
// from outside. How bytes travel between client and instance is behind the exchange type.
package router
