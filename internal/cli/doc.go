// Package cli is the command line of Funade. Its verbs are clients of the public API, through the official Go SDK
// and the generated client of the funade extension service, so that they work from any machine. Only server, env,
// ca, trust and purge look at the data directory; what they do beyond reading files is passed in as Hooks.
package cli
