// Package arch holds the rules of this repository as tests: who may import whom, sizes, comments, time. Each failure
// says the reason for its rule. ARCHITECTURE.md and STYLE.md tell the same to people.
package arch
