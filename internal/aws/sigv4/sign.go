package sigv4

import (
	"encoding/hex"
	"net/http"
	"slices"
	"strings"
	"time"
)

// Credentials sign requests.
type Credentials struct {
	AccessKeyID, SecretAccessKey, SessionToken string
}

// String hides the secret.
func (c Credentials) String() string { return "credentials of " + c.AccessKeyID }

// GoString hides the secret.
func (c Credentials) GoString() string { return c.String() }

// Sign signs a request in its Authorization header: host, content type and every X-Amz header. It sets X-Amz-Date and,
// if the credentials have one, X-Amz-Security-Token. body must be what the request will send.
func Sign(r *http.Request, body []byte, c Credentials, region, service string, now time.Time) error {
	stamp := now.UTC().Format(timeFormat)
	r.Header.Del("Authorization")
	r.Header.Set("X-Amz-Date", stamp)
	if c.SessionToken != "" {
		r.Header.Set("X-Amz-Security-Token", c.SessionToken)
	}
	signed := []string{"host"}
	for name := range r.Header {
		lower := strings.ToLower(name)
		if lower == "content-type" || strings.HasPrefix(lower, "x-amz-") {
			signed = append(signed, lower)
		}
	}
	slices.Sort(signed)
	canonical, err := canonicalRequest(r, signed, hashHex(body), false)
	if err != nil {
		return err
	}
	scope := Credential{c.AccessKeyID, stamp[:len(dateFormat)], region, service}
	sum := hex.EncodeToString(mac(signingKey(c.SecretAccessKey, scope), stringToSign(stamp, scope, canonical)))
	r.Header.Set("Authorization", algorithm+" Credential="+c.AccessKeyID+"/"+scope.Scope()+", SignedHeaders="+strings.Join(signed, ";")+", Signature="+sum)
	return nil
}
