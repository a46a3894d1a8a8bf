package app

import (
	"crypto/sha256"
	"encoding/hex"
)

// SHA256 returns the sha256 digest of data.
func SHA256(data []byte) Digest {
	sum := sha256.Sum256(data)
	return Digest("sha256:" + hex.EncodeToString(sum[:]))
}
