package registry

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"slices"
	"strings"
	"time"

	"github.com/funade/funade/internal/app"
)

// TokenLife is how long a password from GetAuthorizationToken works (ECR user guide, "Private registry authentication").
const TokenLife = 12 * time.Hour

// bearerLife is how long a token of the token endpoint works.
const bearerLife = time.Hour

// maxToken bounds a token's text in bytes.
const maxToken = 8 << 10

// Caller is who a request comes from.
type Caller struct {
	// Scope is what the password was issued in.
	Scope       app.Scope
	AccessKeyID string
	// grants limits a bearer token; nil = no limit beyond the caller's own.
	grants []grant
}

// grant is one "repository:name:actions" of a bearer token.
type grant struct {
	Name    string   `json:"n"`
	Actions []string `json:"a"`
}

// allows reports whether the caller's token covers the action on the repository as named in the request.
func (c Caller) allows(name string, action Action) bool {
	return c.grants == nil || slices.ContainsFunc(c.grants, func(g grant) bool {
		return g.Name == name && (slices.Contains(g.Actions, action.String()) || slices.Contains(g.Actions, "*"))
	})
}

// Tokens issues and verifies passwords. They hold no state: a signature proves them, and they work until they expire
// or their access key is no longer known.
type Tokens struct {
	// Key signs; at least 32 random bytes.
	Key []byte
	Now func() time.Time
	// KeyKnown reports whether the access key still exists and is active.
	KeyKnown func(ctx context.Context, accessKeyID string) bool
}

// claims is the signed content of a token.
type claims struct {
	Account app.AccountID `json:"acc"`
	Region  app.Region    `json:"reg"`
	KeyID   string        `json:"key"`
	Issued  int64         `json:"iat"`
	Expires int64         `json:"exp"`
	Bearer  bool          `json:"brr,omitempty"`
	Grants  []grant       `json:"acs,omitempty"`
}

// Issue returns a password for user AWS and when it expires. It holds no colon.
func (t *Tokens) Issue(scope app.Scope, accessKeyID string) (password string, expiresAt time.Time) {
	now := t.Now()
	expiresAt = now.Add(TokenLife).Truncate(time.Second)
	return t.seal(claims{Account: scope.Account, Region: scope.Region, KeyID: accessKeyID, Issued: now.Unix(), Expires: expiresAt.Unix()}), expiresAt
}

// issueBearer returns a token of the token endpoint, which can do what the grants say and the caller may.
func (t *Tokens) issueBearer(caller Caller, grants []grant) string {
	now := t.Now()
	return t.seal(claims{Account: caller.Scope.Account, Region: caller.Scope.Region, KeyID: caller.AccessKeyID,
		Issued: now.Unix(), Expires: now.Add(bearerLife).Unix(), Bearer: true, Grants: grants})
}

// Verify returns the caller that a password was issued to; KindDenied when it is not, or no longer, valid.
func (t *Tokens) Verify(ctx context.Context, password string) (Caller, error) {
	c, ok := t.unseal(password)
	if !ok || c.Bearer {
		return Caller{}, errToken("The password is not one that GetAuthorizationToken issued.")
	}
	return t.caller(ctx, c)
}

// verifyBearer is Verify for tokens of the token endpoint and, as ECR has it, for passwords.
func (t *Tokens) verifyBearer(ctx context.Context, token string) (Caller, error) {
	c, ok := t.unseal(token)
	if !ok {
		return Caller{}, errToken("The bearer token is malformed or was not issued here.")
	}
	caller, err := t.caller(ctx, c)
	if err == nil && c.Bearer {
		caller.grants = append([]grant{}, c.Grants...)
	}
	return caller, err
}

func (t *Tokens) caller(ctx context.Context, c claims) (Caller, error) {
	if t.Now().Unix() >= c.Expires {
		return Caller{}, errToken("Your authorization token has expired. Reauthenticate and try again.")
	}
	if !t.KeyKnown(ctx, c.KeyID) {
		return Caller{}, errToken("The access key that this authorization token was issued for no longer exists. Reauthenticate with a current one.")
	}
	return Caller{Scope: app.Scope{Account: c.Account, Region: c.Region}, AccessKeyID: c.KeyID}, nil
}

func (t *Tokens) seal(c claims) string {
	body, err := json.Marshal(c)
	if err != nil {
		panic("registry: claims do not marshal: " + err.Error())
	}
	text := base64.RawURLEncoding.EncodeToString(body)
	return text + "." + t.sign(text)
}

func (t *Tokens) unseal(token string) (c claims, ok bool) {
	if len(token) > maxToken {
		return c, false
	}
	text, proof, _ := strings.Cut(token, ".")
	if !hmac.Equal([]byte(proof), []byte(t.sign(text))) {
		return c, false
	}
	body, err := base64.RawURLEncoding.DecodeString(text)
	return c, err == nil && json.Unmarshal(body, &c) == nil
}

func (t *Tokens) sign(text string) string {
	return base64.RawURLEncoding.EncodeToString(mac(t.Key, "registry token", text))
}

// mac signs the parts for a purpose, so that no signature serves two.
func mac(key []byte, purpose string, parts ...string) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(purpose))
	for _, p := range parts {
		h.Write([]byte{0})
		h.Write([]byte(p))
	}
	return h.Sum(nil)
}

func errToken(message string) error { return app.Errorf(app.KindDenied, "", "%s", message) }
