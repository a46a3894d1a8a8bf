package registry

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/funade/funade/internal/app"
)

var zeros = "sha256:" + strings.Repeat("0", 64)

func FuzzParseManifest(f *testing.F) {
	config := `{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"` + zeros + `","size":2}`
	f.Add(MediaTypeOCIImage, `{"schemaVersion":2,"config":`+config+`,"layers":[`+config+`],"annotations":{"a":"b"}}`)
	f.Add("", `{"schemaVersion":2,"mediaType":"`+MediaTypeDockerList+`","manifests":[`+config+`]}`)
	f.Add("application/json", `{"mediaType":"`+MediaTypeOCIArtifact+`","blobs":[`+config+`],"subject":`+config+`}`)
	f.Add(mediaTypeDockerSchema+"+prettyjws", `{"schemaVersion":1}`)
	f.Fuzz(func(t *testing.T, mediaType, text string) {
		d, err := parseManifest(mediaType, []byte(text))
		if err != nil {
			if f := failureOf(err); f.status != 400 || f.code != "MANIFEST_INVALID" {
				t.Errorf("parseManifest(%q, %q) failed with %d %s", mediaType, text, f.status, f.code)
			}
			return
		}
		m := d.row(digestAs("", []byte(text)), len(text))
		if m.MediaType == "" || m.ImageSize < 0 {
			t.Errorf("parseManifest(%q, %q) made %+v", mediaType, text, m)
		}
		for _, digest := range append(m.Blobs, m.Manifests...) {
			if !digest.Valid() {
				t.Errorf("parseManifest(%q, %q) let the digest %q pass", mediaType, text, digest)
			}
		}
		var again document
		if err := json.Unmarshal([]byte(text), &again); err != nil {
			t.Errorf("garbage collection cannot read what parseManifest accepted: %v", err)
		}
	})
}

func FuzzParseRange(f *testing.F) {
	for _, s := range []string{"bytes=0-1", "bytes=-5", "bytes=5-", "bytes=1-2,3-4", "bytes=9223372036854775807-", "bytes=-0", "x=1"} {
		f.Add(s, int64(10))
	}
	f.Fuzz(func(t *testing.T, header string, size int64) {
		if size < 0 {
			return
		}
		s, whole, err := parseRange(header, size)
		switch {
		case err != nil:
		case whole && (s.first != 0 || s.length() != size):
			t.Errorf("parseRange(%q, %d) = %+v, want all", header, size, s)
		case !whole && (s.first < 0 || s.last < s.first || s.last >= size):
			t.Errorf("parseRange(%q, %d) = %+v, outside of the content", header, size, s)
		}
	})
}

func FuzzParseContentRange(f *testing.F) {
	for _, s := range []string{"0-1", "bytes 0-9/10", "bytes 0-9/*", "9223372036854775807-9223372036854775807", "0-9223372036854775807", "-1", "1-"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, header string) {
		if s, err := parseContentRange(header); err == nil && (s.first < 0 || s.length() < 1) {
			t.Errorf("parseContentRange(%q) = %+v", header, s)
		}
	})
}

func FuzzParseRoute(f *testing.F) {
	for _, s := range []string{"/v2/", "/v2/a/b/manifests/v1", "/v2/blobs/uploads/blobs/uploads/x", "/v2/tags/list/tags/list", "/v2/_catalog", "/token", "/v2//blobs/uploads/"} {
		f.Add(s)
	}
	r := &Registry{Config: Config{DefaultScope: app.Scope{Account: "000000000000", Region: "us-east-1"}}}
	f.Fuzz(func(t *testing.T, path string) {
		rt := parseRoute(path)
		if strings.Contains(rt.item, "/") {
			t.Errorf("parseRoute(%q) has the item %q", path, rt.item)
		}
		if key, err := r.key("localhost", rt.name); err == nil && !app.ValidRepositoryName(key.Name) {
			t.Errorf("the path %q names the repository %q", path, key.Name)
		}
	})
}

func FuzzTokens(f *testing.F) {
	now := time.Unix(1_800_000_000, 0)
	tokens := &Tokens{Key: []byte(strings.Repeat("k", 32)), Now: func() time.Time { return now }, KeyKnown: func(context.Context, string) bool { return true }}
	scope := app.Scope{Account: "000000000000", Region: "us-east-1"}
	password, expires := tokens.Issue(scope, "AKIATEST")
	if caller, err := tokens.Verify(context.Background(), password); err != nil || caller.Scope != scope || caller.AccessKeyID != "AKIATEST" || expires.Sub(now) != TokenLife || strings.Contains(password, ":") {
		f.Fatalf("Issue = %q, %v; Verify = %+v, %v", password, expires, caller, err)
	}
	f.Add(password[1:])
	f.Add("..")
	f.Add(strings.Replace(password, ".", "=.", 1))
	f.Fuzz(func(t *testing.T, text string) {
		if _, err := tokens.Verify(context.Background(), text); err == nil && text != password {
			t.Errorf("Verify accepts %q", text)
		}
	})
}
