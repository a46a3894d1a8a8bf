// Package logs keeps log groups and streams: append, read, filter, retention.
package logs
