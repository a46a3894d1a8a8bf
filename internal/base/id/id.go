// Package id makes random identifiers in the forms that AWS uses.
package id

import (
	"crypto/rand"
	"encoding/hex"
	"io"
)

// Source makes identifiers from a stream of random bytes. The zero value uses
// crypto/rand; simulations give it a seeded reader.
type Source struct{ Random io.Reader }

// Hex returns n lowercase hex digits, n even.
func (s Source) Hex(n int) string {
	b := make([]byte, n/2)
	s.read(b)
	return hex.EncodeToString(b)
}

// Hex32 returns 32 lowercase hex digits, App Runner's form of id.
func (s Source) Hex32() string { return s.Hex(32) }

// Prefixed returns EC2's form of id: prefix, a dash and 17 hex digits.
func (s Source) Prefixed(prefix string) string { return prefix + "-" + s.Hex(18)[:17] }

// Label returns a DNS label of ten characters from [a-z0-9] that begins with a letter.
func (s Source) Label() string {
	const letters, all = 26, 36
	const alphabet = "abcdefghijklmnopqrstuvwxyz0123456789"
	out := make([]byte, 0, 10)
	for b := make([]byte, 1); len(out) < 10; {
		s.read(b)
		n := all
		if len(out) == 0 {
			n = letters
		}
		if int(b[0]) < 256-256%n { // unbiased
			out = append(out, alphabet[int(b[0])%n])
		}
	}
	return string(out)
}

func (s Source) read(b []byte) {
	r := s.Random
	if r == nil {
		r = rand.Reader
	}
	if _, err := io.ReadFull(r, b); err != nil {
		panic("id: no random bytes: " + err.Error())
	}
}
