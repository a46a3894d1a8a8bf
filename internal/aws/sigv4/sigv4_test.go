package sigv4

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
)

var noon = time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)

const testKey, testSecret = "AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"

// oneKey is a Keys with one access key; session tokens other than "" and "token" are expired.
type oneKey struct{ secret string }

func (k *oneKey) Secret(_ context.Context, accessKeyID, sessionToken string) (Secret, error) {
	if accessKeyID != testKey {
		return Secret{}, ErrUnknownKey
	}
	if sessionToken != "" && sessionToken != "token" {
		return Secret{}, ErrExpiredToken
	}
	return Secret{SecretAccessKey: k.secret, Identity: Identity{Account: "000000000000", ARN: "arn:aws:iam::000000000000:root"}}, nil
}

func newTestVerifier(now time.Time) *Verifier {
	return NewVerifier(&oneKey{testSecret}, func() time.Time { return now })
}

func sum(body string) string {
	h := sha256.Sum256([]byte(body))
	return hex.EncodeToString(h[:])
}

func credentials(token string) aws.Credentials {
	return aws.Credentials{AccessKeyID: testKey, SecretAccessKey: testSecret, SessionToken: token}
}

// signedRequest is a request signed by the official SDK.
func signedRequest(t testing.TB, method, target, body string, header http.Header) *http.Request {
	t.Helper()
	r := httptest.NewRequest(method, target, strings.NewReader(body))
	for k, v := range header {
		r.Header[k] = v
	}
	if err := v4.NewSigner().SignHTTP(t.Context(), credentials(r.Header.Get("Test-Token")), r, sum(body), "apprunner", "us-east-1", noon); err != nil {
		t.Fatal(err)
	}
	return r
}

func presigned(t testing.TB, target string, token string) *http.Request {
	t.Helper()
	r := httptest.NewRequest("GET", target, nil)
	q := r.URL.Query()
	q.Set("X-Amz-Expires", "60")
	r.URL.RawQuery = q.Encode()
	signed, header, err := v4.NewSigner().PresignHTTP(t.Context(), credentials(token), r, sum(""), "apprunner", "us-east-1", noon)
	if err != nil {
		t.Fatal(err)
	}
	r = httptest.NewRequest("GET", signed, nil)
	for k, v := range header {
		if k != "Host" {
			r.Header[k] = v
		}
	}
	return r
}

func TestVerifyAcceptsWhatTheSDKSigns(t *testing.T) {
	v := newTestVerifier(noon)
	for _, target := range []string{
		"http://127.0.0.1:4566/", "http://example.com", "http://example.com/a/b%20c/%C3%A9%2Fd", "http://example.com/2020-05-31/distribution/E1/config?Marker=a%2Bb&Marker=A&b=&a",
		"http://example.com/?q=a+b&Z=1&z=%7E*%27", "http://[::1]:4566/",
	} {
		for _, body := range []string{"", `{"a":1}`} {
			header := http.Header{"Content-Type": {"application/x-amz-json-1.0"}, "X-Amz-Target": {"AppRunner.ListServices"}, "X-Amz-Meta": {"  a   b ", "c"}}
			r := signedRequest(t, "POST", target, body, header)
			got, err := v.Verify(t.Context(), r, []byte(body), Terms{Service: "apprunner"})
			if err != nil {
				t.Errorf("%s body %q: %v", target, body, err)
				continue
			}
			if got.Region != "us-east-1" || got.AccessKeyID != testKey || got.Identity.Account != "000000000000" {
				t.Errorf("%s: verified as %+v", target, got)
			}
		}
		if _, err := v.Verify(t.Context(), presigned(t, target, "token"), nil, Terms{Service: "apprunner"}); err != nil {
			t.Errorf("presigned %s: %v", target, err)
		}
	}
}

func TestVerifyThroughHTTP(t *testing.T) {
	v := newTestVerifier(noon)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err == nil {
			_, err = v.Verify(r.Context(), r, body, Terms{Service: "apprunner"})
		}
		if err != nil {
			http.Error(w, err.Error(), http.StatusForbidden)
		}
	}))
	defer server.Close()
	body := `{"ServiceArn":"x"}`
	for _, sign := range map[string]func(*http.Request) error{
		"sdk": func(r *http.Request) error {
			return v4.NewSigner().SignHTTP(t.Context(), credentials("token"), r, sum(body), "apprunner", "us-east-1", noon)
		},
		"own": func(r *http.Request) error {
			return Sign(r, []byte(body), Credentials{testKey, testSecret, "token"}, "us-east-1", "apprunner", noon)
		},
	} {
		r, err := http.NewRequestWithContext(t.Context(), "POST", server.URL+"/?x=1", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Content-Type", "application/x-amz-json-1.0")
		if err := sign(r); err != nil {
			t.Fatal(err)
		}
		response, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(response.Body)
		if err != nil || response.Body.Close() != nil || response.StatusCode != 200 {
			t.Errorf("status %d: %s %v", response.StatusCode, text, err)
		}
	}
}

func TestVerifyRefuses(t *testing.T) {
	header := func(old, new string) func(*http.Request) {
		return func(r *http.Request) {
			r.Header.Set("Authorization", strings.Replace(r.Header.Get("Authorization"), old, new, 1))
		}
	}
	set := func(name, value string) func(*http.Request) {
		return func(r *http.Request) { r.Header.Set(name, value) }
	}
	tests := []struct {
		name   string
		change func(*http.Request)
		body   string
		now    time.Time
		kind   Kind
	}{
		{"no signature", func(r *http.Request) { r.Header.Del("Authorization") }, "{}", noon, Missing},
		{"other scheme", set("Authorization", "Basic abc"), "{}", noon, Incomplete},
		{"bare scheme", set("Authorization", algorithm), "{}", noon, Incomplete},
		{"no signature part", header("Signature=", "Sig="), "{}", noon, Incomplete},
		{"no credential part", header("Credential=", "Cred="), "{}", noon, Incomplete},
		{"short scope", header("/aws4_request", ""), "{}", noon, Incomplete},
		{"region that is none", header("us-east-1", "a*b"), "{}", noon, Incomplete},
		{"two signatures", func(r *http.Request) { r.Header.Add("Authorization", r.Header.Get("Authorization")) }, "{}", noon, Incomplete},
		{"header and query", func(r *http.Request) { r.URL.RawQuery = "X-Amz-Signature=a" }, "{}", noon, Incomplete},
		{"parameter twice", header("SignedHeaders=", "Signature=a, SignedHeaders="), "{}", noon, Incomplete},
		{"unsorted headers", header("SignedHeaders=content-", "SignedHeaders=z;content-"), "{}", noon, Incomplete},
		{"host unsigned", header("host;", ""), "{}", noon, Incomplete},
		{"target unsigned", header(";x-amz-target", ""), "{}", noon, Incomplete},
		{"added amz header", set("X-Amz-Extra", "1"), "{}", noon, Incomplete},
		{"signed header gone", func(r *http.Request) { r.Header.Del("Content-Type") }, "{}", noon, Incomplete},
		{"no date", func(r *http.Request) { r.Header.Del("X-Amz-Date") }, "{}", noon, Incomplete},
		{"malformed date", set("X-Amz-Date", "yesterday"), "{}", noon, Incomplete},
		{"malformed query", func(r *http.Request) { r.URL.RawQuery = "a=%zz" }, "{}", noon, Incomplete},
		{"date of another day", header("/20261125/", "/20261124/"), "{}", noon, Mismatch},
		{"unknown key", header(testKey, "AKIDOTHER"), "{}", noon, UnknownKey},
		{"other body", nil, "{ }", noon, Mismatch},
		{"other target", set("X-Amz-Target", "AppRunner.DeleteService"), "{}", noon, Mismatch},
		{"other host", func(r *http.Request) { r.Host = "example.org" }, "{}", noon, Mismatch},
		{"other method", func(r *http.Request) { r.Method = "PUT" }, "{}", noon, Mismatch},
		{"other path", func(r *http.Request) { r.URL.Path = "/x" }, "{}", noon, Mismatch},
		{"other query", func(r *http.Request) { r.URL.RawQuery = "a=1" }, "{}", noon, Mismatch},
		{"other region", header("us-east-1", "us-east-2"), "{}", noon, Mismatch},
		{"other service", header("/apprunner/", "/ecr/"), "{}", noon, Mismatch},
		{"other content type", set("Content-Type", "text/plain"), "{}", noon, Mismatch},
		{"signature cut short", func(r *http.Request) {
			a := r.Header.Get("Authorization")
			r.Header.Set("Authorization", a[:len(a)-1])
		}, "{}", noon, Mismatch},
		{"15 minutes and a second late", nil, "{}", noon.Add(maxSkew + time.Second), Expired},
		{"15 minutes and a second early", nil, "{}", noon.Add(-maxSkew - time.Second), Expired},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := signedRequest(t, "POST", "http://h/", "{}", http.Header{"Content-Type": {"application/x-amz-json-1.0"}, "X-Amz-Target": {"AppRunner.ListServices"}})
			if tt.change != nil {
				tt.change(r)
			}
			wantKind(t, newTestVerifier(tt.now), r, tt.body, tt.kind)
		})
	}
}

func wantKind(t *testing.T, v *Verifier, r *http.Request, body string, kind Kind) {
	t.Helper()
	_, err := v.Verify(t.Context(), r, []byte(body), Terms{Service: "apprunner"})
	if e, ok := errors.AsType[*Error](err); !ok || e.Kind != kind {
		t.Errorf("got %v, want kind %d", err, kind)
	}
}

func TestVerifyAtTheEdgeOfSkew(t *testing.T) {
	for _, now := range []time.Time{noon.Add(maxSkew), noon.Add(-maxSkew)} {
		r := signedRequest(t, "POST", "http://h/", "{}", nil)
		if _, err := newTestVerifier(now).Verify(t.Context(), r, []byte("{}"), Terms{Service: "apprunner"}); err != nil {
			t.Errorf("at %s: %v", now, err)
		}
	}
}

func TestPresignedRefusals(t *testing.T) {
	query := func(change func(url.Values)) func(*http.Request) {
		return func(r *http.Request) {
			q := r.URL.Query()
			change(q)
			r.URL.RawQuery = q.Encode()
		}
	}
	tests := []struct {
		name   string
		change func(*http.Request)
		now    time.Time
		kind   Kind
	}{
		{"expired", nil, noon.Add(61 * time.Second), Expired},
		{"not yet", nil, noon.Add(-16 * time.Minute), Expired},
		{"longer life", query(func(q url.Values) { q.Set("X-Amz-Expires", "600") }), noon, Mismatch},
		{"endless", query(func(q url.Values) { q.Set("X-Amz-Expires", "9999999") }), noon, Incomplete},
		{"expiry removed", query(func(q url.Values) { q.Del("X-Amz-Expires") }), noon, Mismatch},
		{"expiry twice", query(func(q url.Values) { q.Add("X-Amz-Expires", "1") }), noon, Incomplete},
		{"twice", query(func(q url.Values) { q.Add("X-Amz-Credential", "x") }), noon, Incomplete},
		{"other action", query(func(q url.Values) { q.Set("Action", "Other") }), noon, Mismatch},
		{"other token", query(func(q url.Values) { q.Set("X-Amz-Security-Token", "old") }), noon, ExpiredToken},
		{"target smuggled in", func(r *http.Request) { r.Header.Set("X-Amz-Target", "a.b") }, noon, Incomplete},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := presigned(t, "http://h/?Action=GetCallerIdentity&Version=2011-06-15", "token")
			if tt.change != nil {
				tt.change(r)
			}
			wantKind(t, newTestVerifier(tt.now), r, "", tt.kind)
		})
	}
}

func TestUnsignedPayload(t *testing.T) {
	r := httptest.NewRequest("PUT", "http://h/x", strings.NewReader("body"))
	r.Header.Set("X-Amz-Content-Sha256", unsignedPayload)
	if err := v4.NewSigner().SignHTTP(t.Context(), credentials(""), r, unsignedPayload, "apprunner", "us-east-1", noon); err != nil {
		t.Fatal(err)
	}
	wantKind(t, newTestVerifier(noon), r, "body", Mismatch)
	if _, err := newTestVerifier(noon).Verify(t.Context(), r, []byte("body"), Terms{Service: "apprunner", AllowUnsignedPayload: true}); err != nil {
		t.Errorf("where it is allowed: %v", err)
	}
	r.Header.Set("X-Amz-Content-Sha256", sum("other"))
	wantKind(t, newTestVerifier(noon), r, "body", Mismatch)
}

// A rotated secret must not be served by the cache, and a full cache must keep working.
func TestKeyCache(t *testing.T) {
	keys := &oneKey{testSecret}
	v := NewVerifier(keys, func() time.Time { return noon })
	verify := func(region string, secret string) error {
		r := httptest.NewRequest("POST", "http://h/", nil)
		if err := Sign(r, nil, Credentials{AccessKeyID: testKey, SecretAccessKey: secret}, region, "apprunner", noon); err != nil {
			t.Fatal(err)
		}
		_, err := v.Verify(t.Context(), r, nil, Terms{Service: "apprunner"})
		return err
	}
	for i := range maxCachedKeys + 10 {
		if err := verify(fmt.Sprintf("region-%d", i), testSecret); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(v.cache); n > maxCachedKeys {
		t.Errorf("%d keys cached", n)
	}
	if err := verify("region-1029", "wrong"); err == nil {
		t.Error("a wrong secret was accepted")
	}
	keys.secret = "rotated"
	if err := verify("region-1029", testSecret); err == nil {
		t.Error("the old secret was accepted after rotation")
	}
	if err := verify("region-1029", "rotated"); err != nil {
		t.Errorf("the new secret: %v", err)
	}
}

func TestKeysErrorPassesThrough(t *testing.T) {
	broken := errors.New("disk on fire")
	v := NewVerifier(keysFunc(func() (Secret, error) { return Secret{}, broken }), func() time.Time { return noon })
	r := signedRequest(t, "POST", "http://h/", "", nil)
	if _, err := v.Verify(t.Context(), r, nil, Terms{Service: "apprunner"}); !errors.Is(err, broken) {
		t.Errorf("got %v", err)
	}
}

type keysFunc func() (Secret, error)

func (f keysFunc) Secret(context.Context, string, string) (Secret, error) { return f() }

func TestSecretsAreNotPrinted(t *testing.T) {
	s := Secret{SecretAccessKey: testSecret}
	c := Credentials{AccessKeyID: testKey, SecretAccessKey: testSecret}
	if text := fmt.Sprintf("%v %+v %#v %s %v %#v", s, s, s, s, c, c); strings.Contains(text, testSecret) {
		t.Errorf("secret in %q", text)
	}
}

func TestNormalise(t *testing.T) {
	for in, want := range map[string]string{
		"/": "/", "/a/b": "/a/b", "//": "/", "/a//b/": "/a/b/", "/a/./b": "/a/b", "/a/../b": "/b", "/../../x": "/x", "/a/..": "/", "/.well-known": "/.well-known",
	} {
		if got := normalise(in); got != want {
			t.Errorf("normalise(%q) = %q, want %q", in, got, want)
		}
	}
}

// FuzzVerify holds the canonical form against the official signer.
func FuzzVerify(f *testing.F) {
	f.Add("/", "a=b&c", "v", []byte("{}"))
	f.Add("/x/é", "q=%20+", "  a\t b", []byte(nil))
	f.Add("/2020-05-31/distribution", "Marker=*~'&marker=;", "\"q\"", []byte{0xff})
	v := newTestVerifier(noon)
	f.Fuzz(func(t *testing.T, path, query, value string, body []byte) {
		r := httptest.NewRequest("POST", "http://host/", bytes.NewReader(body))
		r.URL.Path, r.URL.RawQuery = "/"+strings.TrimLeft(path, "/"), query
		r.Header.Set("X-Amz-Meta", value)
		if normalise(r.URL.EscapedPath()) != r.URL.EscapedPath() || strings.ContainsAny(value, "\r\n\x00\t") || strings.TrimSpace(value) != strings.Trim(value, " ") {
			return // the SDK neither normalises paths nor sends such headers
		}
		if _, err := url.ParseQuery(query); err != nil || strings.Contains(query, "X-Amz-") {
			return // the SDK drops what does not parse
		}
		h := sha256.Sum256(body)
		if err := v4.NewSigner().SignHTTP(t.Context(), credentials(""), r, hex.EncodeToString(h[:]), "apprunner", "us-east-1", noon); err != nil {
			return // not a request that the SDK would sign
		}
		if _, err := v.Verify(t.Context(), r, body, Terms{Service: "apprunner"}); err != nil {
			t.Fatal(err)
		}
	})
}

// FuzzParse feeds arbitrary signatures: nothing may panic or be accepted.
func FuzzParse(f *testing.F) {
	f.Add("AWS4-HMAC-SHA256 Credential=a/20261125/r/apprunner/aws4_request, SignedHeaders=host, Signature=00", "", "20261125T120000Z")
	f.Add("", "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=a/b/c/d/aws4_request&X-Amz-SignedHeaders=host&X-Amz-Signature=1&X-Amz-Date=20261125T120000Z&X-Amz-Expires=5", "")
	f.Add("AWS4-HMAC-SHA256 ,=,", "%", "2")
	v := newTestVerifier(noon)
	f.Fuzz(func(t *testing.T, authorization, query, date string) {
		r := httptest.NewRequest("POST", "http://host/", nil)
		r.URL.RawQuery = query
		if authorization != "" {
			r.Header.Set("Authorization", authorization)
		}
		r.Header.Set("X-Amz-Date", date)
		_, err := v.Verify(t.Context(), r, nil, Terms{Service: "apprunner"})
		if _, ok := errors.AsType[*Error](err); !ok {
			t.Fatalf("got %v", err)
		}
	})
}

func BenchmarkVerify(b *testing.B) {
	body := strings.Repeat("x", 150)
	r := signedRequest(b, "POST", "http://127.0.0.1:4566/", body, http.Header{"Content-Type": {"application/x-amz-json-1.0"}, "X-Amz-Target": {"AppRunner.DescribeService"}})
	for _, cached := range []bool{true, false} {
		b.Run(fmt.Sprintf("cached=%t", cached), func(b *testing.B) {
			v := newTestVerifier(noon)
			b.ReportAllocs()
			for b.Loop() {
				if !cached {
					clear(v.cache)
				}
				if _, err := v.Verify(b.Context(), r, []byte(body), Terms{Service: "apprunner"}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
