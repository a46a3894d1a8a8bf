package logs

import "math/bits"

// A bloom filter of the words of a block: 8 bits a word, 4 probes, a power of two in size. A word is
// a run of letters, digits, underscores and bytes beyond ASCII.
const (
	bloomProbes  = 4
	maxBloomBits = 1 << 18
	minBloomBits = 1 << 9
)

// isWord says which bytes make words.
var isWord = func() (t [256]bool) {
	for c := range t {
		t[c] = c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '_' || c >= 0x80
	}
	return t
}()

const hashSeed, hashPrime = 14695981039346656037, 1099511628211

func hashWord[T string | []byte](w T) uint64 {
	h := uint64(hashSeed)
	for i := range len(w) {
		h = (h ^ uint64(w[i])) * hashPrime
	}
	return mix(h)
}

func mix(h uint64) uint64 {
	h ^= h >> 32
	h *= 0xd6e8feb86659fd93
	return h ^ h>>32
}

// bloomBuilder is reused from block to block.
type bloomBuilder struct {
	bits  [maxBloomBits / 64]uint64
	words int
}

// add puts every word of b in.
func (f *bloomBuilder) add(b []byte) {
	for i := 0; i < len(b); i++ {
		if !isWord[b[i]] {
			continue
		}
		h := uint64(hashSeed)
		for ; i < len(b) && isWord[b[i]]; i++ {
			h = (h ^ uint64(b[i])) * hashPrime
		}
		f.put(mix(h))
	}
}

func (f *bloomBuilder) put(h uint64) {
	step := h>>32 | 1
	fresh := false
	for range bloomProbes {
		at := h % maxBloomBits
		if f.bits[at/64]&(1<<(at%64)) == 0 {
			f.bits[at/64] |= 1 << (at % 64)
			fresh = true
		}
		h += step
	}
	if fresh {
		f.words++
	}
}

// finish appends the filter, folded to about 8 bits a word, and clears the builder.
func (f *bloomBuilder) finish(b []byte) []byte {
	size := maxBloomBits
	for size > minBloomBits && size/2 >= 8*f.words {
		size /= 2
		for i := range size / 64 {
			f.bits[i] |= f.bits[i+size/64]
		}
	}
	for _, w := range f.bits[:size/64] {
		for range 8 {
			b = append(b, byte(w))
			w >>= 8
		}
	}
	clear(f.bits[:])
	f.words = 0
	return b
}

// bloomHas reports whether a word may be in the block; a malformed filter holds everything.
func bloomHas(filter []byte, h uint64) bool {
	size := uint64(len(filter)) * 8
	if size < 8 || bits.OnesCount64(size) != 1 {
		return true
	}
	step := h>>32 | 1
	for range bloomProbes {
		at := h % size
		if filter[at/8]&(1<<(at%8)) == 0 {
			return false
		}
		h += step
	}
	return true
}
