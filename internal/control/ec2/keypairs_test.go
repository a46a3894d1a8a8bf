package ec2

import (
	"bytes"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/funade/funade/internal/app"
)

// Two keys that ssh-keygen made, with the fingerprints of openssl and ssh-keygen.
const (
	rsaLine        = "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAAAgQDJxTDxe1TaUJFZRr6z8Vq9A/qtjY0jGzsp0aZNDTbpuckz6QRc+8paqHvtxuXhKTCERPMAZx6Q+SNvsjzbOIE6KLoj5qTueDAQVEe9pAfOM10ULDckeFMDrgW/QX1fF3EIEUXAJ9FPtHvywSdHKLbk6aPqtgAgmgdOqH2p837bPw== me@host"
	rsaFingerprint = "3e:68:d3:b0:02:9b:d5:df:6e:9e:23:eb:ea:fe:28:4f"
	edLine         = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAINOXUlSTBPoojDvKdPjHEvhoJJedoYyXRMV+5edUYCYE me@host"
	edFingerprint  = "aaoc2cnhjjasuY6k1f6GQymZA/KnhB9FEH/XIoRaO40="
)

const rsaSPKI = `-----BEGIN PUBLIC KEY-----
MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDJxTDxe1TaUJFZRr6z8Vq9A/qt
jY0jGzsp0aZNDTbpuckz6QRc+8paqHvtxuXhKTCERPMAZx6Q+SNvsjzbOIE6KLoj
5qTueDAQVEe9pAfOM10ULDckeFMDrgW/QX1fF3EIEUXAJ9FPtHvywSdHKLbk6aPq
tgAgmgdOqH2p837bPwIDAQAB
-----END PUBLIC KEY-----`

const rsaPKCS1 = `-----BEGIN RSA PUBLIC KEY-----
MIGJAoGBAMnFMPF7VNpQkVlGvrPxWr0D+q2NjSMbOynRpk0NNum5yTPpBFz7ylqo
e+3G5eEpMIRE8wBnHpD5I2+yPNs4gToouiPmpO54MBBUR72kB84zXRQsNyR4UwOu
Bb9BfV8XcQgRRcAn0U+0e/LBJ0cotuTpo+q2ACCaB06ofanzfts/AgMBAAE=
-----END RSA PUBLIC KEY-----`

const rsaSSH2 = `---- BEGIN SSH2 PUBLIC KEY ----
Comment: "1024-bit RSA, converted \
from OpenSSH"
AAAAB3NzaC1yc2EAAAADAQABAAAAgQDJxTDxe1TaUJFZRr6z8Vq9A/qtjY0jGzsp0aZNDT
bpuckz6QRc+8paqHvtxuXhKTCERPMAZx6Q+SNvsjzbOIE6KLoj5qTueDAQVEe9pAfOM10U
LDckeFMDrgW/QX1fF3EIEUXAJ9FPtHvywSdHKLbk6aPqtgAgmgdOqH2p837bPw==
---- END SSH2 PUBLIC KEY ----`

const ecdsaLine = "ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTYAAABBBLduxwU27aVnHXMWDjyiwOrDc1uQ8aoB6APaoWSPCiXbWTNvxVhbTd1Xp8lz+J970xOW1XBFLCZjhUW+g/+wyww= x"

// Every form of the same key gives the same line and fingerprint.
func TestPublicKeyForms(t *testing.T) {
	spki, _ := pem.Decode([]byte(rsaSPKI))
	forms := map[string]string{
		"line": rsaLine, "line without comment": strings.TrimSuffix(rsaLine, " me@host"), "line end": rsaLine + "\r\n", "PEM": rsaSPKI, "PKCS #1": rsaPKCS1, "SSH2": rsaSSH2,
		"SSH2 of Windows": strings.ReplaceAll(rsaSSH2, "\n", "\r\n") + "\r\n", "DER": string(spki.Bytes), "DER in base64": base64.StdEncoding.EncodeToString(spki.Bytes),
		"PEM without its lines": strings.Join(strings.Split(rsaSPKI, "\n")[1:5], "\n"),
	}
	for name, text := range forms {
		k, err := parsePublicKey([]byte(text))
		if err != nil || k.kind != "rsa" || k.fingerprint != rsaFingerprint || k.line("me@host") != rsaLine {
			t.Errorf("%s: %s %s %s, %v", name, k.kind, k.fingerprint, k.line(""), err)
		}
	}
	k, err := parsePublicKey([]byte(edLine))
	if err != nil || k.kind != "ed25519" || k.fingerprint != edFingerprint || k.line("me@host") != edLine {
		t.Errorf("%s %s %s, %v", k.kind, k.fingerprint, k.line(""), err)
	}
}

func TestImportKeyPair(t *testing.T) {
	b := newBench(t, Quotas{KeyPairs: 2})
	k, err := b.ImportKeyPair(ctx, scope, ImportKeyPairInput{Name: "deploy", Material: []byte(edLine), Tags: app.Tags{"a": "b"}})
	if err != nil || !strings.HasPrefix(string(k.ID), "key-") || k.Type != "ed25519" || k.Fingerprint != edFingerprint || k.Tags["a"] != "b" || !strings.HasSuffix(k.PublicKey, " deploy") || !k.CreatedAt.Equal(b.now) {
		t.Fatalf("got %+v, %v", k, err)
	}
	blob := func(fields ...[]byte) []byte {
		var all []byte
		for _, f := range fields {
			all = append(all, field(f)...)
		}
		return []byte("ssh-rsa " + base64.StdEncoding.EncodeToString(all))
	}
	odd := bytes.Repeat([]byte{0x7f}, 128)
	for name, c := range map[string]struct {
		key, material string
		code, words   string
	}{
		"same name":       {"deploy", rsaLine, "InvalidKeyPair.Duplicate", "deploy"},
		"no name":         {"", rsaLine, "InvalidParameterValue", "KeyName"},
		"space":           {" a", rsaLine, "InvalidParameterValue", "KeyName"},
		"not ASCII":       {"ü", rsaLine, "InvalidParameterValue", "KeyName"},
		"long":            {strings.Repeat("a", 256), rsaLine, "InvalidParameterValue", "KeyName"},
		"empty":           {"a", " ", "InvalidKey.Format", "empty"},
		"huge":            {"a", rsaLine + strings.Repeat("x", maxMaterial), "InvalidKey.Format", "at most 16384"},
		"text":            {"a", "my key", "InvalidKey.Format", "none of the known forms"},
		"ecdsa":           {"a", ecdsaLine, "InvalidKey.Format", "ssh-rsa or ssh-ed25519"},
		"two lines":       {"a", rsaLine + "\n" + edLine, "InvalidKey.Format", "several lines"},
		"private":         {"a", "-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n-----END OPENSSH PRIVATE KEY-----", "InvalidKey.Format", "private key"},
		"broken PEM":      {"a", "-----BEGIN PUBLIC KEY-----\n!", "InvalidKey.Format", "PEM is malformed"},
		"broken SSH2":     {"a", "---- BEGIN SSH2 PUBLIC KEY ----\nAAAA", "InvalidKey.Format", "SSH2 form"},
		"no key":          {"a", "ssh-rsa", "InvalidKey.Format", "no key after ssh-rsa"},
		"no base64":       {"a", "ssh-rsa !", "InvalidKey.Format", "not base64"},
		"other algorithm": {"a", strings.Replace(edLine, "ssh-ed25519", "ssh-rsa", 1), "InvalidKey.Format", "type ssh-rsa"},
		"small modulus":   {"a", string(blob([]byte("ssh-rsa"), []byte{1, 0, 1}, []byte{127})), "InvalidKey.Format", "7 bits"},
		"even modulus":    {"a", string(blob([]byte("ssh-rsa"), []byte{1, 0, 1}, append(odd[1:], 2))), "InvalidKey.Format", "bits"},
		"exponent":        {"a", string(blob([]byte("ssh-rsa"), []byte{2}, append([]byte{1}, odd...))), "InvalidKey.Format", "exponent 2"},
		"huge exponent":   {"a", string(blob([]byte("ssh-rsa"), odd, odd)), "InvalidKey.Format", "malformed"},
		"more after it":   {"a", string(blob([]byte("ssh-rsa"), []byte{1, 0, 1}, append([]byte{1}, odd...), odd)), "InvalidKey.Format", "malformed"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := b.ImportKeyPair(ctx, scope, ImportKeyPairInput{Name: c.key, Material: []byte(c.material)})
			fails(t, err, c.code, c.words)
		})
	}
	if _, err := b.ImportKeyPair(ctx, other, ImportKeyPairInput{Name: "deploy", Material: []byte(edLine)}); err != nil {
		t.Errorf("the name is taken in another region: %v", err)
	}
	if _, err := b.ImportKeyPair(ctx, scope, ImportKeyPairInput{Name: "second", Material: []byte(rsaLine)}); err != nil {
		t.Error(err)
	}
	_, err = b.ImportKeyPair(ctx, scope, ImportKeyPairInput{Name: "third", Material: []byte(rsaLine)})
	fails(t, err, "KeyPairLimitExceeded", "2")
	_, err = b.ImportKeyPair(ctx, scope, ImportKeyPairInput{Name: "third", Material: []byte(rsaLine), Tags: app.Tags{"aws:x": ""}})
	fails(t, err, "InvalidParameterValue", "aws:x")
}

func TestDeleteKeyPair(t *testing.T) {
	b := newBench(t)
	before := b.rowsOf()
	for _, byID := range []bool{true, false} {
		k, err := b.ImportKeyPair(ctx, scope, ImportKeyPairInput{Name: "n", Material: []byte(edLine), Tags: app.Tags{"a": "b"}})
		if err != nil {
			t.Fatal(err)
		}
		id, name := k.ID, ""
		if !byID {
			id, name = "", "n"
		}
		gone, err := b.DeleteKeyPair(ctx, scope, id, name)
		if left, _ := b.DescribeKeyPairs(ctx, scope); err != nil || gone != k.ID || len(left) != 0 || b.rowsOf()["tags"] != before["tags"] {
			t.Errorf("got %s, %v; left %v", gone, err, left)
		}
	}
	if gone, err := b.DeleteKeyPair(ctx, scope, "", "n"); err != nil || gone != "" {
		t.Errorf("deleting a name again: %s, %v", gone, err)
	}
	_, err := b.DeleteKeyPair(ctx, scope, "key-no", "")
	fails(t, err, "InvalidKeyPair.NotFound", "key-no")
	_, err = b.DeleteKeyPair(ctx, scope, "", "")
	fails(t, err, "MissingParameter", "KeyName")
}

// The fingerprint of a key that was made here is openssl's SHA-1 of its PKCS #8 form.
func TestCreatedFingerprint(t *testing.T) {
	number := func(text string) *big.Int {
		n, ok := new(big.Int).SetString(text, 16)
		if !ok {
			t.Fatal(text)
		}
		return n
	}
	p := number("f507a1094a93e65d7524843547719d48a9f378078f8cf790d69f08eba5d23189e50496c313a5cc790be72208c23c2655ca697aaf00988a71b0b5419c7d4d2811")
	q := number("e52fa3faf4c47f303fc7fc157601ec5116de7a0e4bd67bf539bb3efce527a4f9ab869335f88f58075e8df08811610d072b8cb57ca8a13c300e4f14b6bcc30287")
	one := big.NewInt(1)
	phi := new(big.Int).Mul(new(big.Int).Sub(p, one), new(big.Int).Sub(q, one))
	key := &rsa.PrivateKey{PublicKey: rsa.PublicKey{N: new(big.Int).Mul(p, q), E: 65537}, D: new(big.Int).ModInverse(big.NewInt(65537), phi), Primes: []*big.Int{p, q}}
	key.Precompute()
	got, err := createdFingerprint(key)
	if want := "48:98:4c:8c:d8:81:3f:61:e9:0c:3e:17:64:5a:97:60:ad:78:a6:d7"; err != nil || got != want {
		t.Errorf("got %s, %v, want %s", got, err, want)
	}
}

// What CreateKeyPair returns are keys that ssh-keygen reads, with the public half that is kept.
func TestCreateKeyPair(t *testing.T) {
	b := newBench(t)
	for _, kind := range []string{"", "rsa", "ed25519"} {
		k, private, err := b.CreateKeyPair(ctx, scope, CreateKeyPairInput{Name: "n" + kind, Type: kind, Tags: app.Tags{"a": "b"}})
		if err != nil || k.Tags["a"] != "b" {
			t.Fatalf("got %+v, %v", k, err)
		}
		public, err := parsePublicKey([]byte(k.PublicKey))
		if err != nil || public.kind != k.Type || k.Type == "ed25519" && public.fingerprint != k.Fingerprint || k.Type == "rsa" && len(k.Fingerprint) != 59 {
			t.Errorf("the public key is %s with %s, %v", k.PublicKey, k.Fingerprint, err)
		}
		block, _ := pem.Decode([]byte(private))
		if k.Type == "rsa" {
			key, err := x509.ParsePKCS1PrivateKey(block.Bytes)
			if err != nil || key.N.BitLen() != newModulus || !bytes.Equal(rsaBlob(&key.PublicKey), public.blob) {
				t.Errorf("the private key is of another pair, %v", err)
			}
		}
		program, err := exec.LookPath("ssh-keygen")
		if err != nil {
			t.Log("ssh-keygen is not installed: the private key is not given to it")
			continue
		}
		path := filepath.Join(t.TempDir(), "key")
		if err := os.WriteFile(path, []byte(private), 0o600); err != nil {
			t.Fatal(err)
		}
		out, err := exec.Command(program, "-y", "-f", path).CombinedOutput()
		if words := strings.Fields(k.PublicKey); err != nil || !strings.HasPrefix(string(out), words[0]+" "+words[1]) {
			t.Errorf("ssh-keygen says %q, %v, want %s", out, err, k.PublicKey)
		}
	}
	_, _, err := b.CreateKeyPair(ctx, scope, CreateKeyPairInput{Name: "x", Type: "dsa"})
	fails(t, err, "InvalidParameterValue", "dsa")
	_, _, err = b.CreateKeyPair(ctx, scope, CreateKeyPairInput{Name: "nrsa", Type: "ed25519"})
	fails(t, err, "InvalidKeyPair.Duplicate", "nrsa")
	if !keyName.MatchString("a b-c_d@e") {
		t.Error("a name with a space inside is refused")
	}
}

// FuzzPublicKey: what is accepted reads the same again from its line.
func FuzzPublicKey(f *testing.F) {
	for _, text := range []string{rsaLine, edLine, rsaSPKI, rsaPKCS1, rsaSSH2, ecdsaLine} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, material []byte) {
		k, err := parsePublicKey(material)
		if err != nil {
			return
		}
		again, err := parsePublicKey([]byte(k.line("c")))
		if err != nil || again.fingerprint != k.fingerprint || !bytes.Equal(again.blob, k.blob) {
			t.Errorf("%q became %+v and then %+v, %v", material, k, again, err)
		}
	})
}
