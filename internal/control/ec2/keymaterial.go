package ec2

import (
	"bytes"
	"crypto"
	"crypto/ed25519"
	"crypto/md5"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"strings"

	"github.com/funade/funade/internal/app"
)

// The types of key pairs, as EC2 names them, and what SSH calls their keys.
const (
	keyRSA     = "rsa"
	keyED25519 = "ed25519"
	sshRSA     = "ssh-rsa"
	sshED25519 = "ssh-ed25519"
)

// The bounds of key material: bytes of a public key in any form, and bits of an RSA modulus.
const (
	maxMaterial = 16 << 10
	minModulus  = 1024
	maxModulus  = 4096
	newModulus  = 2048
)

// publicKey is a key as EC2 keeps it.
type publicKey struct {
	kind string // rsa or ed25519
	blob []byte // in SSH's wire form (RFC 4253, section 6.6; RFC 8709)
	// fingerprint is what EC2 shows (EC2 guide, "Verify the fingerprint of your key pair"). RSA: MD5 of the DER of an
	// imported public key, SHA-1 of the DER of a private key made here. ED25519: SHA-256 of blob.
	fingerprint string
}

// line is the key as OpenSSH writes it into files.
func (k publicKey) line(comment string) string {
	algorithm := sshRSA
	if k.kind == keyED25519 {
		algorithm = sshED25519
	}
	return algorithm + " " + base64.StdEncoding.EncodeToString(k.blob) + " " + comment
}

// parsePublicKey reads a public key in any of the forms that EC2 takes.
func parsePublicKey(material []byte) (publicKey, error) {
	text := bytes.TrimSpace(material)
	switch {
	case len(text) == 0:
		return publicKey{}, errors.New("it is empty")
	case len(material) > maxMaterial:
		return publicKey{}, fmt.Errorf("it has %d bytes, and at most %d are read", len(material), maxMaterial)
	case bytes.Contains(text, []byte("PRIVATE KEY")):
		return publicKey{}, errors.New("it is a private key: give the public one, the file that ends with .pub")
	case bytes.HasPrefix(text, []byte("---- BEGIN SSH2 PUBLIC KEY")):
		return parseRFC4716(string(text))
	case bytes.HasPrefix(text, []byte("-----BEGIN ")):
		block, _ := pem.Decode(text)
		if block == nil {
			return publicKey{}, errors.New("its PEM is malformed")
		}
		return parseDER(block.Bytes)
	case bytes.HasPrefix(text, []byte("ssh-")), bytes.HasPrefix(text, []byte("ecdsa-")):
		return parseLine(string(text))
	}
	if der, err := decodeBase64(string(text)); err == nil {
		return parseDER(der)
	}
	return parseDER(material)
}

func decodeBase64(text string) ([]byte, error) {
	return base64.StdEncoding.DecodeString(strings.Join(strings.Fields(text), ""))
}

func parseLine(text string) (publicKey, error) {
	if strings.ContainsAny(text, "\r\n") {
		return publicKey{}, errors.New("it has several lines: give one key on one line")
	}
	words := strings.Fields(text)
	if len(words) < 2 {
		return publicKey{}, errors.New("it has no key after " + words[0])
	}
	if words[0] != sshRSA && words[0] != sshED25519 {
		return publicKey{}, fmt.Errorf("keys of type %s are not supported: give ssh-rsa or ssh-ed25519", words[0])
	}
	blob, err := base64.StdEncoding.DecodeString(words[1])
	if err != nil {
		return publicKey{}, errors.New("the key after " + words[0] + " is not base64")
	}
	return parseBlob(blob, words[0])
}

// parseRFC4716 reads SECSH's file form: headers, which a backslash continues, and the blob in base64.
func parseRFC4716(text string) (publicKey, error) {
	var body strings.Builder
	header, closed := false, false
	for n, line := range strings.Split(strings.ReplaceAll(text, "\r\n", "\n"), "\n") {
		line = strings.TrimSpace(line)
		switch {
		case n == 0:
		case strings.HasPrefix(line, "---- END SSH2 PUBLIC KEY"):
			closed = true
		case header || strings.Contains(line, ":"):
			header = strings.HasSuffix(line, `\`)
		default:
			body.WriteString(line)
		}
	}
	blob, err := decodeBase64(body.String())
	if err != nil || !closed {
		return publicKey{}, errors.New("its SSH2 form is malformed")
	}
	return parseBlob(blob, "")
}

// parseBlob reads a key in SSH's wire form; algorithm is what it has to be, "" = whatever it says.
func parseBlob(blob []byte, algorithm string) (publicKey, error) {
	name, rest, ok := cutField(blob)
	if !ok || algorithm != "" && string(name) != algorithm {
		return publicKey{}, fmt.Errorf("the key does not hold a key of type %s", algorithm)
	}
	switch string(name) {
	case sshED25519:
		key, rest, ok := cutField(rest)
		if !ok || len(rest) > 0 || len(key) != ed25519.PublicKeySize {
			return publicKey{}, errors.New("the ED25519 key is malformed")
		}
		return edKey(key), nil
	case sshRSA:
		exponent, rest, ok1 := cutField(rest)
		modulus, rest, ok2 := cutField(rest)
		e := new(big.Int).SetBytes(exponent)
		if !ok1 || !ok2 || len(rest) > 0 || !e.IsInt64() || e.Int64() > 1<<31-1 {
			return publicKey{}, errors.New("the RSA key is malformed")
		}
		return importedRSA(&rsa.PublicKey{N: new(big.Int).SetBytes(modulus), E: int(e.Int64())})
	}
	return publicKey{}, fmt.Errorf("keys of type %.40q are not supported: give ssh-rsa or ssh-ed25519", name)
}

// parseDER reads a SubjectPublicKeyInfo or a PKCS #1 public key.
func parseDER(der []byte) (publicKey, error) {
	if key, err := x509.ParsePKCS1PublicKey(der); err == nil {
		return importedRSA(key)
	}
	key, err := x509.ParsePKIXPublicKey(der)
	if err != nil {
		return publicKey{}, errors.New("it is none of the known forms: give a line as in id_ed25519.pub, PEM, DER or RFC 4716")
	}
	switch key := key.(type) {
	case *rsa.PublicKey:
		return importedRSA(key)
	case ed25519.PublicKey:
		return edKey(key), nil
	}
	return publicKey{}, errors.New("keys of this type are not supported: give an RSA or an ED25519 key")
}

func importedRSA(key *rsa.PublicKey) (publicKey, error) {
	if bits := key.N.BitLen(); bits < minModulus || bits > maxModulus || key.N.Bit(0) == 0 {
		return publicKey{}, fmt.Errorf("an RSA key of %d bits cannot be used: give one of %d to %d bits", bits, minModulus, maxModulus)
	}
	if key.E < 3 || key.E%2 == 0 {
		return publicKey{}, fmt.Errorf("the RSA key's exponent %d cannot be used: it has to be odd and at least 3", key.E)
	}
	der, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		return publicKey{}, fmt.Errorf("cannot encode the RSA key: %w", err)
	}
	sum := md5.Sum(der)
	return publicKey{keyRSA, rsaBlob(key), colons(sum[:])}, nil
}

func edKey(key ed25519.PublicKey) publicKey {
	blob := slices.Concat(field([]byte(sshED25519)), field(key))
	sum := sha256.Sum256(blob)
	return publicKey{keyED25519, blob, base64.StdEncoding.EncodeToString(sum[:])}
}

func rsaBlob(key *rsa.PublicKey) []byte {
	return slices.Concat(field([]byte(sshRSA)), field(mpint(big.NewInt(int64(key.E)))), field(mpint(key.N)))
}

// generateKey makes a key pair and returns the private key as EC2 does: PKCS #1 for RSA, OpenSSH's form for ED25519.
func generateKey(kind string) (publicKey, string, error) {
	switch kind {
	case "", keyRSA:
		private, err := rsa.GenerateKey(rand.Reader, newModulus)
		if err != nil {
			return publicKey{}, "", fmt.Errorf("cannot make an RSA key: %w", err)
		}
		fingerprint, err := createdFingerprint(private)
		if err != nil {
			return publicKey{}, "", err
		}
		text := pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(private)})
		return publicKey{keyRSA, rsaBlob(&private.PublicKey), fingerprint}, string(text), nil
	case keyED25519:
		public, private, err := ed25519.GenerateKey(rand.Reader)
		if err != nil {
			return publicKey{}, "", fmt.Errorf("cannot make an ED25519 key: %w", err)
		}
		key := edKey(public)
		return key, openSSHPrivate(key, private), nil
	}
	return publicKey{}, "", fail(app.KindInvalidRequest, "InvalidParameterValue", "Value (%s) for parameter KeyType is invalid: give rsa or ed25519", kind)
}

// createdFingerprint is that of a private key that was made here.
func createdFingerprint(key crypto.PrivateKey) (string, error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return "", fmt.Errorf("cannot encode a private key: %w", err)
	}
	sum := sha1.Sum(der)
	return colons(sum[:]), nil
}

// openSSHPrivate is a private key without a passphrase in OpenSSH's own form (OpenSSH, PROTOCOL.key).
func openSSHPrivate(key publicKey, private ed25519.PrivateKey) string {
	var check [4]byte
	_, _ = rand.Read(check[:]) // never fails
	secret := slices.Concat(check[:], check[:], key.blob, field(private), field(nil))
	for pad := byte(1); len(secret)%8 != 0; pad++ {
		secret = append(secret, pad)
	}
	body := slices.Concat(
		[]byte("openssh-key-v1\x00"), field([]byte("none")), field([]byte("none")), field(nil), []byte{0, 0, 0, 1}, field(key.blob), field(secret),
	)
	return string(pem.EncodeToMemory(&pem.Block{Type: "OPENSSH PRIVATE KEY", Bytes: body}))
}

// field writes a string as SSH does: its length, then its bytes.
func field(data []byte) []byte {
	return append(binary.BigEndian.AppendUint32(nil, uint32(len(data))), data...)
}

// cutField reads what field wrote.
func cutField(data []byte) (value, rest []byte, ok bool) {
	if len(data) < 4 {
		return nil, nil, false
	}
	n := binary.BigEndian.Uint32(data)
	if uint64(n) > uint64(len(data)-4) {
		return nil, nil, false
	}
	return data[4 : 4+n], data[4+n:], true
}

// mpint is a positive number as SSH writes it: without leading zeros but for a sign bit.
func mpint(n *big.Int) []byte {
	b := n.Bytes()
	if len(b) > 0 && b[0]&0x80 != 0 {
		b = append([]byte{0}, b...)
	}
	return b
}

// colons is hex with a colon between bytes.
func colons(sum []byte) string {
	var out []string
	for _, b := range sum {
		out = append(out, hex.EncodeToString([]byte{b}))
	}
	return strings.Join(out, ":")
}
