// Package logs keeps log groups and streams: append, read, filter, follow, retention; and collects
// the files that containers write their output to.
//
// # On disk
//
// Every append goes to one write-ahead log shared by all groups (wal/), so that one fsync serves
// every writer of the moment; it is acknowledged once synced. Events of one group and UTC day gather
// in memory (a head) and leave as a compressed block in a segment:
//
//	groups/<readable part>-<hash of account, region, name>/<YYYY-MM-DD>/<first sequence number>.seg
//
// A block carries its time range, its streams and a bloom filter of its words, so that a read skips
// what cannot match; retention unlinks whole days. A checkpoint syncs the segments, writes meta.json
// (cursors, deleted streams) and drops the write-ahead log. Every record has a sequence number and
// every block says which it covers: recovery replays exactly the records that no valid block holds.
// Nothing stays open or in memory for a group that nobody writes to.
//
// # Order
//
// Events are ordered by (timestamp, sequence number, index in the append); the event id spells that
// triple in digits, and every page token is such a place.
package logs
