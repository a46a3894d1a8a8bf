package sigv4

import (
	"context"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

const (
	maxSkew         = 15 * time.Minute
	maxExpires      = 7 * 24 * time.Hour
	maxCachedKeys   = 1024
	unsignedPayload = "UNSIGNED-PAYLOAD"
)

// Identity says whom an access key belongs to.
type Identity struct {
	Account  string // 12 digits
	ARN      string
	UserID   string
	UserName string // empty for the root of the account
}

// Secret is what a Keys knows about an access key.
type Secret struct {
	SecretAccessKey string
	Identity        Identity
}

// String hides the secret.
func (s Secret) String() string { return "secret of " + s.Identity.ARN }

// GoString hides the secret.
func (s Secret) GoString() string { return s.String() }

// Keys finds secrets. It returns ErrUnknownKey for a key that nobody owns or a token that does not belong to it, and
// ErrExpiredToken for a session that is over.
type Keys interface {
	Secret(ctx context.Context, accessKeyID, sessionToken string) (Secret, error)
}

// Terms say what a request must satisfy besides a right signature.
type Terms struct {
	Service              string // the service that the scope must name
	AllowUnsignedPayload bool   // accept UNSIGNED-PAYLOAD in place of the body's hash
	RawPath              bool   // S3: the path is signed as it was sent
}

// Verified is the outcome of a successful verification.
type Verified struct {
	Credential
	Identity Identity
}

// Verifier verifies signatures; it is safe for concurrent use.
type Verifier struct {
	keys Keys
	now  func() time.Time

	mu    sync.RWMutex
	cache map[Credential]cachedKey // only keys that have verified a request
}

type cachedKey struct {
	secret string // the secret that the key was derived from: a rotated secret gives another key
	key    []byte
}

// NewVerifier makes a Verifier; now gives the time that requests are measured against.
func NewVerifier(keys Keys, now func() time.Time) *Verifier {
	return &Verifier{keys: keys, now: now, cache: make(map[Credential]cachedKey)}
}

// Verify checks the signature of a request whose body has been read. It returns *Error for a refusal; other errors
// come from the Keys.
func (v *Verifier) Verify(ctx context.Context, r *http.Request, body []byte, t Terms) (Verified, error) {
	query := queryOf(r)
	sig, err := parse(r, query)
	if err != nil {
		return Verified{}, err
	}
	if err := checkSigned(r, sig); err != nil {
		return Verified{}, err
	}
	stamp, err := v.checkTime(r, query, sig)
	if err != nil {
		return Verified{}, err
	}
	if sig.Service != t.Service {
		return Verified{}, &Error{Mismatch, fmt.Sprintf("Credential should be scoped to correct service: '%s'.", t.Service)}
	}
	payload, err := payloadHash(r, query, sig.presigned, body, t.AllowUnsignedPayload)
	if err != nil {
		return Verified{}, err
	}
	token := r.Header.Get("X-Amz-Security-Token")
	if sig.presigned {
		token = query.Get("X-Amz-Security-Token")
	}
	secret, err := v.secret(ctx, sig.AccessKeyID, token)
	if err != nil {
		return Verified{}, err
	}
	canonical, err := canonicalRequest(r, sig.signedHeaders, payload, t.RawPath)
	if err != nil {
		return Verified{}, err
	}
	key, cached := v.key(secret.SecretAccessKey, sig.Credential)
	want := hex.EncodeToString(mac(key, stringToSign(stamp, sig.Credential, canonical)))
	if subtle.ConstantTimeCompare([]byte(want), []byte(sig.hex)) != 1 {
		return Verified{}, &Error{Mismatch, "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key and signing method."}
	}
	if !cached {
		v.remember(secret.SecretAccessKey, sig.Credential, key)
	}
	return Verified{Credential: sig.Credential, Identity: secret.Identity}, nil
}

// checkSigned demands that the host and every X-Amz header is signed, so that nobody can add or change one, and that
// every signed header is there.
func checkSigned(r *http.Request, sig signature) error {
	if !slices.Contains(sig.signedHeaders, "host") {
		return &Error{Incomplete, "'Host' must be a signed header."}
	}
	for name := range r.Header {
		lower := strings.ToLower(name)
		if strings.HasPrefix(lower, "x-amz-") && !slices.Contains(sig.signedHeaders, lower) {
			return &Error{Incomplete, "The header '" + lower + "' must be signed."}
		}
	}
	for _, name := range sig.signedHeaders {
		if name != "host" && name != "content-length" && len(r.Header[http.CanonicalHeaderKey(name)]) == 0 {
			return &Error{Incomplete, "The signed header '" + name + "' is missing from the request."}
		}
	}
	return nil
}

// checkTime finds the request's time stamp and compares it with the clock and the scope's date.
func (v *Verifier) checkTime(r *http.Request, query url.Values, sig signature) (stamp string, err error) {
	stamp = r.Header.Get("X-Amz-Date")
	if sig.presigned {
		stamp = query.Get("X-Amz-Date")
	}
	if stamp == "" {
		return "", &Error{Incomplete, "Authorization header requires existence of a 'X-Amz-Date' header."}
	}
	at, err := time.Parse(timeFormat, stamp)
	if err != nil {
		return "", &Error{Incomplete, "Date must be in ISO-8601 'basic format', such as 20260102T030405Z."}
	}
	if stamp[:len(dateFormat)] != sig.Date {
		return "", &Error{Mismatch, fmt.Sprintf("Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: '%s' != '%s'.", sig.Date, stamp[:len(dateFormat)])}
	}
	valid := maxSkew
	if sig.presigned && query.Has("X-Amz-Expires") { // without it a URL is good for as long as a header
		seconds, convErr := strconv.Atoi(query.Get("X-Amz-Expires"))
		valid = time.Duration(seconds) * time.Second
		if convErr != nil || seconds < 1 || valid > maxExpires {
			return "", &Error{Incomplete, "X-Amz-Expires must be a number of seconds from 1 to 604800."}
		}
	}
	now := v.now().UTC()
	if now.After(at.Add(valid)) {
		return "", &Error{Expired, fmt.Sprintf("Signature expired: %s is now earlier than %s (%s - %s.)", stamp, now.Add(-valid).Format(timeFormat), now.Format(timeFormat), minutes(valid))}
	}
	if at.After(now.Add(maxSkew)) {
		return "", &Error{Expired, fmt.Sprintf("Signature not yet current: %s is still later than %s (%s + %s.)", stamp, now.Add(maxSkew).Format(timeFormat), now.Format(timeFormat), minutes(maxSkew))}
	}
	return stamp, nil
}

func minutes(d time.Duration) string {
	if d%time.Minute != 0 {
		return strconv.Itoa(int(d/time.Second)) + " s"
	}
	return strconv.Itoa(int(d/time.Minute)) + " min"
}

// payloadHash is the hash that the caller signed, checked against the body.
func payloadHash(r *http.Request, query url.Values, presigned bool, body []byte, allowUnsigned bool) (string, error) {
	computed := hashHex(body)
	given := r.Header.Get("X-Amz-Content-Sha256")
	if given == "" && presigned {
		given = query.Get("X-Amz-Content-Sha256")
	}
	switch {
	case given == "":
		return computed, nil
	case given == unsignedPayload && allowUnsigned:
		return given, nil
	case given == unsignedPayload || strings.HasPrefix(given, "STREAMING-"):
		return "", &Error{Mismatch, "This service needs a signed body: X-Amz-Content-Sha256 must be the SHA-256 of the body."}
	case subtle.ConstantTimeCompare([]byte(given), []byte(computed)) != 1:
		return "", &Error{Mismatch, "The provided 'x-amz-content-sha256' header does not match what was computed."}
	}
	return given, nil
}

func (v *Verifier) secret(ctx context.Context, accessKeyID, token string) (Secret, error) {
	secret, err := v.keys.Secret(ctx, accessKeyID, token)
	switch {
	case errors.Is(err, ErrUnknownKey):
		return Secret{}, &Error{UnknownKey, "The security token included in the request is invalid."}
	case errors.Is(err, ErrExpiredToken):
		return Secret{}, &Error{ExpiredToken, "The security token included in the request is expired"}
	case err != nil:
		return Secret{}, fmt.Errorf("cannot look up access key: %w", err)
	}
	return secret, nil
}

// key finds or derives the signing key.
func (v *Verifier) key(secret string, c Credential) (key []byte, cached bool) {
	v.mu.RLock()
	k, ok := v.cache[c]
	v.mu.RUnlock()
	if ok && subtle.ConstantTimeCompare([]byte(k.secret), []byte(secret)) == 1 {
		return k.key, true
	}
	return signingKey(secret, c), false
}

// remember keeps a key that has verified a request. When the cache is full it starts anew: keys last a day at most.
func (v *Verifier) remember(secret string, c Credential, key []byte) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if len(v.cache) >= maxCachedKeys {
		clear(v.cache)
	}
	v.cache[c] = cachedKey{secret: secret, key: key}
}
