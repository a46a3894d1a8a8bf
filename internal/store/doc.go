// Package store remembers: every control and observed row of the install, typed, in one
// embedded SQL database. There is one writer and any number of readers.
//
// All rows are held decoded in immutable ordered trees. View reads one consistent snapshot
// and never waits; Update works on a private copy of the trees, writes the difference to
// SQLite in one durable transaction and then publishes the copy. Memory is never ahead of
// the disk.
//
// A row is a value. Maps and slices inside it are shared with every reader: copy them
// before changing them.
//
// Each table has exactly one writing package: Control holds the handles of internal/control,
// Observed those of internal/converge. The package-level handles only read.
package store
