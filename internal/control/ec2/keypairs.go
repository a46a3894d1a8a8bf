package ec2

import (
	"context"
	"regexp"
	"strings"

	"github.com/funade/funade/internal/app"
	"github.com/funade/funade/internal/store"
)

// KeyPairDetail is a key pair with its tags.
type KeyPairDetail struct {
	app.KeyPair
	Tags app.Tags
}

// keyName is what key pairs may be called (ec2 API reference, CreateKeyPair).
var keyName = regexp.MustCompile(`^[ -~]{1,255}$`)

func checkKeyName(name string) error {
	if !keyName.MatchString(name) || strings.TrimSpace(name) != name {
		return fail(app.KindInvalidRequest, "InvalidParameterValue", "Value (%s) for parameter KeyName is invalid. Give 1 to 255 ASCII characters without a space at either end", name)
	}
	return nil
}

// ImportKeyPairInput says what public key to keep.
type ImportKeyPairInput struct {
	Name string
	// Material is the public key: a line as OpenSSH writes it, PEM, DER, DER in base64, or RFC 4716.
	Material []byte
	Tags     app.Tags
}

// ImportKeyPair keeps a public key that the caller made.
func (c *EC2) ImportKeyPair(ctx context.Context, scope app.Scope, in ImportKeyPairInput) (KeyPairDetail, error) {
	if err := checkKeyName(in.Name); err != nil {
		return KeyPairDetail{}, err
	}
	key, err := parsePublicKey(in.Material)
	if err != nil {
		return KeyPairDetail{}, fail(app.KindInvalidRequest, "InvalidKey.Format", "Key is not in valid OpenSSH public key format: %v", err)
	}
	return c.newKeyPair(ctx, scope, app.KeyPair{
		Name: in.Name, Type: key.kind, PublicKey: key.line(in.Name), Fingerprint: key.fingerprint,
	}, in.Tags)
}

// CreateKeyPairInput says what key pair to make; Type "" is rsa.
type CreateKeyPairInput struct {
	Name, Type string
	Tags       app.Tags
}

// CreateKeyPair makes a key pair and returns the private key as PEM; it is kept nowhere.
func (c *EC2) CreateKeyPair(ctx context.Context, scope app.Scope, in CreateKeyPairInput) (KeyPairDetail, string, error) {
	if err := checkKeyName(in.Name); err != nil {
		return KeyPairDetail{}, "", err
	}
	key, private, err := generateKey(in.Type)
	if err != nil {
		return KeyPairDetail{}, "", err
	}
	out, err := c.newKeyPair(ctx, scope, app.KeyPair{
		Name: in.Name, Type: key.kind, PublicKey: key.line(in.Name), Fingerprint: key.fingerprint,
	}, in.Tags)
	if err != nil {
		return KeyPairDetail{}, "", err
	}
	return out, private, nil
}

func (c *EC2) newKeyPair(ctx context.Context, scope app.Scope, k app.KeyPair, tags app.Tags) (KeyPairDetail, error) {
	if err := checkTags(tags); err != nil {
		return KeyPairDetail{}, err
	}
	k.Scope, k.CreatedAt = scope, c.now()
	err := c.update(ctx, scope, func(tx *store.Tx) error {
		if keyExists(tx, scope, k.Name) {
			return fail(app.KindExists, "InvalidKeyPair.Duplicate", "The keypair '%s' already exists: choose another name or delete it first", k.Name)
		}
		if n := count(store.KeyPairsByScope.Each(tx, scope)); n >= c.cfg.Quotas.KeyPairs {
			return fail(app.KindQuota, "KeyPairLimitExceeded", "The maximum number of key pairs for the region has been reached: there are %d. Delete one first", n)
		}
		k.ID = app.KeyPairID(c.cfg.IDs.Prefixed("key"))
		store.Control.KeyPairs.Put(tx, k)
		putTags(tx, string(k.ID), tags)
		return nil
	})
	return KeyPairDetail{k, tags}, err
}

// DescribeKeyPairs returns all key pairs, by id.
func (c *EC2) DescribeKeyPairs(ctx context.Context, scope app.Scope) (out []KeyPairDetail, err error) {
	err = c.view(ctx, scope, func(tx *store.Tx) error {
		for k := range store.KeyPairsByScope.Each(tx, scope) {
			out = append(out, KeyPairDetail{k, Tags(tx, string(k.ID))})
		}
		return nil
	})
	return out, err
}

// DeleteKeyPair forgets the key pair with an id, or else with a name, and returns its id. A name that is not there is fine,
// as on AWS, and gives "".
func (c *EC2) DeleteKeyPair(ctx context.Context, scope app.Scope, id app.KeyPairID, name string) (app.KeyPairID, error) {
	if id == "" && name == "" {
		return "", fail(app.KindInvalidRequest, "MissingParameter", "The request must contain the parameter KeyName or KeyPairId")
	}
	var gone app.KeyPairID
	err := c.update(ctx, scope, func(tx *store.Tx) error {
		for k := range store.KeyPairsByScope.Each(tx, scope) {
			if k.ID == id || id == "" && k.Name == name {
				gone = k.ID
				break
			}
		}
		switch {
		case gone != "":
			store.Control.KeyPairs.Delete(tx, gone)
			deleteTags(tx, string(gone))
		case id != "":
			return notFound("InvalidKeyPair.NotFound", "key pair ID", string(id))
		}
		return nil
	})
	return gone, err
}
