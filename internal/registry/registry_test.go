package registry_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/funade/funade/internal/app"
	"github.com/funade/funade/internal/registry"
)

func readAll(t testing.TB, resp *http.Response) string {
	t.Helper()
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func sum(text string) string { return string(app.SHA256([]byte(text))) }

// push uploads a blob in one request.
func (f *fixture) push(t testing.TB, name, body string) string {
	t.Helper()
	resp, text := f.do(t, "POST", "/v2/"+name+"/blobs/uploads/?digest="+sum(body), body)
	if resp.StatusCode != http.StatusCreated {
		t.Fatalf("pushing a blob to %s answered %d %s", name, resp.StatusCode, text)
	}
	return sum(body)
}

// imageText writes an OCI image manifest over blobs given by content, the first being the config.
func imageText(blobs ...string) string {
	var parts []string
	for _, b := range blobs {
		parts = append(parts, fmt.Sprintf(`{"mediaType":"application/vnd.test","digest":%q,"size":%d}`, sum(b), len(b)))
	}
	return `{"schemaVersion":2,"mediaType":"` + registry.MediaTypeOCIImage + `","config":` + parts[0] + `,"layers":[` + strings.Join(parts[1:], ",") + `]}`
}

// pushImage uploads blobs and their manifest.
func (f *fixture) pushImage(t testing.TB, name, tag string, blobs ...string) string {
	t.Helper()
	for _, b := range blobs {
		f.push(t, name, b)
	}
	resp, text := f.do(t, "PUT", "/v2/"+name+"/manifests/"+tag, imageText(blobs...), "Content-Type", registry.MediaTypeOCIImage)
	if resp.StatusCode != http.StatusCreated {
		t.Fatalf("pushing %s:%s answered %d %s", name, tag, resp.StatusCode, text)
	}
	return resp.Header.Get("Docker-Content-Digest")
}

// begin starts an upload session and returns its location.
func (f *fixture) begin(t testing.TB, name string) string {
	t.Helper()
	resp, text := f.do(t, "POST", "/v2/"+name+"/blobs/uploads/", "")
	if resp.StatusCode != http.StatusAccepted {
		t.Fatalf("starting an upload answered %d %s", resp.StatusCode, text)
	}
	return resp.Header.Get("Location")
}

// want checks status and error code ("" = no error).
func want(t testing.TB, what string, resp *http.Response, body string, status int, code string) {
	t.Helper()
	var parsed struct {
		Errors []struct{ Code, Message string }
	}
	if code != "" {
		if err := json.Unmarshal([]byte(body), &parsed); err != nil || len(parsed.Errors) != 1 {
			t.Errorf("%s: the error body is %q (%v)", what, body, err)
			return
		}
	}
	if resp.StatusCode != status || code != "" && parsed.Errors[0].Code != code {
		t.Errorf("%s: answered %d %s, want %d %s", what, resp.StatusCode, body, status, code)
	}
}

func TestErrors(t *testing.T) {
	f := newFixture(t, nil)
	f.rows.Create(repo("hello"), false)
	f.rows.Create(app.RepositoryKey{Scope: app.Scope{Account: "111122223333", Region: "us-east-1"}, Name: "theirs"}, false)
	absent := sum("absent")
	list := func(children string) string {
		return `{"schemaVersion":2,"mediaType":"` + registry.MediaTypeOCIIndex + `","manifests":[` + children + `]}`
	}
	child := fmt.Sprintf(`{"mediaType":%q,"digest":%q,"size":3}`, registry.MediaTypeOCIImage, absent)
	long := strings.Repeat("a", 5<<20)
	f.push(t, "hello", "config")
	wrongSize := strings.Replace(imageText("config"), `"size":6`, `"size":7`, 1)
	for _, c := range []struct {
		method, path, body string
		status             int
		code               string
	}{
		{"GET", "/v2/hello/nothing", "", 404, "UNSUPPORTED"},
		{"GET", "/v2x", "", 404, "UNSUPPORTED"},
		{"POST", "/v2/", "", 405, "UNSUPPORTED"},
		{"PATCH", "/v2/hello/manifests/v1", "", 405, "UNSUPPORTED"},
		{"GET", "/v2/UPPER/tags/list", "", 400, "NAME_INVALID"},
		{"GET", "/v2/a/tags/list", "", 400, "NAME_INVALID"},
		{"GET", "/v2/" + strings.Repeat("a", 257) + "/tags/list", "", 400, "NAME_INVALID"},
		{"GET", "/v2/../hello/tags/list", "", 400, "NAME_INVALID"},
		{"GET", "/v2/absent/tags/list", "", 404, "NAME_UNKNOWN"},
		{"GET", "/v2/absent/manifests/v1", "", 404, "NAME_UNKNOWN"},
		{"GET", "/v2/absent/blobs/" + absent, "", 404, "NAME_UNKNOWN"},
		{"POST", "/v2/absent/blobs/uploads/", "", 404, "NAME_UNKNOWN"},
		{"GET", "/v2/absent/referrers/" + absent, "", 404, "NAME_UNKNOWN"},
		{"GET", "/v2/111122223333.dkr.ecr.us-east-1.amazonaws.com/theirs/tags/list", "", 403, "DENIED"},
		{"POST", "/v2/111122223333.dkr.ecr.us-east-1.amazonaws.com/theirs/blobs/uploads/", "", 403, "DENIED"},
		{"GET", "/v2/000000000000.dkr.ecr.eu-west-1.amazonaws.com/hello/tags/list", "", 404, "NAME_UNKNOWN"},
		{"GET", "/v2/hello/blobs/sha256:12", "", 400, "DIGEST_INVALID"},
		{"GET", "/v2/hello/blobs/" + absent, "", 404, "BLOB_UNKNOWN"},
		{"DELETE", "/v2/hello/blobs/" + absent, "", 404, "BLOB_UNKNOWN"},
		{"GET", "/v2/hello/manifests/" + absent, "", 404, "MANIFEST_UNKNOWN"},
		{"DELETE", "/v2/hello/manifests/v9", "", 404, "MANIFEST_UNKNOWN"},
		{"GET", "/v2/hello/manifests/.v", "", 400, "TAG_INVALID"},
		{"PUT", "/v2/hello/manifests/" + strings.Repeat("t", 129), "{}", 400, "TAG_INVALID"},
		{"GET", "/v2/hello/referrers/latest", "", 400, "DIGEST_INVALID"},
		{"GET", "/v2/hello/tags/list?n=-1", "", 400, "PAGINATION_NUMBER_INVALID"},
		{"POST", "/v2/hello/blobs/uploads/?digest=md5:x", "", 400, "DIGEST_INVALID"},
		{"POST", "/v2/hello/blobs/uploads/?mount=x&from=hello", "", 400, "DIGEST_INVALID"},
		{"POST", "/v2/hello/blobs/uploads/?digest=" + absent, "other", 400, "DIGEST_INVALID"},
		{"GET", "/v2/hello/blobs/uploads/unknown", "", 404, "BLOB_UPLOAD_UNKNOWN"},
		{"PATCH", "/v2/hello/blobs/uploads/0123.4567", "x", 404, "BLOB_UPLOAD_UNKNOWN"},
		{"PUT", "/v2/hello/blobs/uploads/0123.4567?digest=" + absent, "x", 404, "BLOB_UPLOAD_UNKNOWN"},
		{"PUT", "/v2/hello/manifests/v1", "not JSON", 400, "MANIFEST_INVALID"},
		{"PUT", "/v2/hello/manifests/v1", "{}", 400, "MANIFEST_INVALID"},
		{"PUT", "/v2/hello/manifests/v1", `{"schemaVersion":1,"fsLayers":[]}`, 400, "MANIFEST_INVALID"},
		{"PUT", "/v2/hello/manifests/v1", `{"schemaVersion":2,"mediaType":"text/html"}`, 400, "MANIFEST_INVALID"},
		{"PUT", "/v2/hello/manifests/v1", list(child + `],"layers":[` + child), 400, "MANIFEST_INVALID"},
		{"PUT", "/v2/hello/manifests/v1", list(`{"digest":"sha256:1"}`), 400, "MANIFEST_INVALID"},
		{"PUT", "/v2/hello/manifests/v1", list(strings.Replace(child, ":3}", ":-3}", 1)), 400, "MANIFEST_INVALID"},
		{"PUT", "/v2/hello/manifests/v1", wrongSize, 400, "MANIFEST_INVALID"},
		{"PUT", "/v2/hello/manifests/v1", list(child), 404, "MANIFEST_BLOB_UNKNOWN"},
		{"PUT", "/v2/hello/manifests/v1", imageText("config", "never pushed"), 404, "MANIFEST_BLOB_UNKNOWN"},
		{"PUT", "/v2/hello/manifests/" + absent, imageText("config"), 400, "DIGEST_INVALID"},
		{"PUT", "/v2/hello/manifests/v1", long, 413, "SIZE_INVALID"},
		{"PUT", "/v2/absent/manifests/v1", imageText("config"), 404, "NAME_UNKNOWN"},
	} {
		resp, body := f.do(t, c.method, c.path, c.body)
		want(t, c.method+" "+c.path[:min(len(c.path), 120)], resp, body, c.status, c.code)
	}
	resp, body := f.do(t, "PUT", "/v2/hello/manifests/v1", imageText("config"), "Content-Type", registry.MediaTypeDockerImage)
	want(t, "a contradicting Content-Type", resp, body, 400, "MANIFEST_INVALID")
	resp, body = f.do(t, "GET", "/v2/", "", "X-Big", strings.Repeat("a", 70<<10))
	want(t, "large headers", resp, body, 431, "UNSUPPORTED")
}

func TestNames(t *testing.T) {
	f := newFixture(t, nil)
	f.rows.Create(repo("hello"), false)
	digest := f.pushImage(t, scope.RegistryHost()+"/hello", "v1", "config", "layer")
	for _, c := range []struct{ path, host string }{
		{"/v2/hello/manifests/v1", f.host},
		{"/v2/" + scope.RegistryHost() + "/hello/manifests/v1", f.host},
		{"/v2/hello/manifests/v1", scope.RegistryHost()},
		{"/v2/hello/manifests/v1", scope.RegistryHost() + ":4566"},
	} {
		resp, body := f.do(t, "GET", c.path, "", "Host", c.host)
		if resp.StatusCode != 200 || resp.Header.Get("Docker-Content-Digest") != digest {
			t.Errorf("%s at host %s answered %d %s", c.path, c.host, resp.StatusCode, body)
		}
	}
	other := app.Scope{Account: "000000000000", Region: "eu-west-1"}
	resp, body := f.do(t, "GET", "/v2/hello/manifests/v1", "", "Host", other.RegistryHost())
	want(t, "another region's host", resp, body, 404, "NAME_UNKNOWN")
	m, text, err := f.ReadManifest(t.Context(), repo("hello"), "v1")
	if err != nil || string(m.Digest) != digest || string(text) != imageText("config", "layer") || m.ImageSize != 11 || m.ConfigMediaType != "application/vnd.test" {
		t.Errorf("ReadManifest = %+v, %q, %v", m, text, err)
	}
}

func TestImmutableTags(t *testing.T) {
	f := newFixture(t, nil)
	f.rows.Create(repo("hello"), true)
	f.pushImage(t, "hello", "v1", "config")
	f.pushImage(t, "hello", "v1", "config") // the same again changes nothing
	f.push(t, "hello", "other")
	resp, body := f.do(t, "PUT", "/v2/hello/manifests/v1", imageText("other"))
	want(t, "moving an immutable tag", resp, body, 400, "TAG_INVALID")
	if text := "The image tag 'v1' already exists in the 'hello' repository and cannot be overwritten because the repository is immutable."; !strings.Contains(body, text) {
		t.Errorf("the error is %s, want ECR's words", body)
	}
	_, err := f.PutManifest(t.Context(), registry.ManifestInput{Repository: repo("hello"), Body: []byte(imageText("other")), Tags: []string{"v1"}})
	if app.KindOf(err) != app.KindExists {
		t.Errorf("PutManifest failed with %v, want KindExists", err)
	}
	_, err = f.PutManifest(t.Context(), registry.ManifestInput{Repository: repo("hello"), Body: []byte(imageText("gone")), Tags: []string{"v2"}})
	var e *app.Error
	if !errors.As(err, &e) || e.Code != "LayersNotFoundException" {
		t.Errorf("PutManifest failed with %v, want LayersNotFoundException", err)
	}
}

func TestAuthentication(t *testing.T) {
	f := newFixture(t, nil)
	f.rows.Create(repo("hello"), false)
	get := func(path, user, password string) (*http.Response, string) {
		req, err := http.NewRequest("GET", f.server.URL+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		if user == "bearer" {
			req.Header.Set("Authorization", "Bearer "+password)
		} else if user != "" {
			req.SetBasicAuth(user, password)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		return resp, readAll(t, resp)
	}
	resp, body := get("/v2/", "", "")
	want(t, "no credentials", resp, body, 401, "UNAUTHORIZED")
	if got, text := resp.Header.Get("WWW-Authenticate"), `Basic realm="http://`+f.host+`/",service="ecr.amazonaws.com"`; got != text {
		t.Errorf("the challenge is %s, want %s", got, text)
	}
	for _, c := range []struct{ what, user, password string }{
		{"another user", "root", f.password}, {"a wrong password", "AWS", "x" + f.password}, {"an empty password", "AWS", ""},
		{"a changed signature", "AWS", f.password[:len(f.password)-2] + "AA"}, {"a wrong bearer", "bearer", "abc.def"},
	} {
		resp, body := get("/v2/", c.user, c.password)
		want(t, c.what, resp, body, 401, "UNAUTHORIZED")
	}
	token := func(query string) string {
		resp, body := get("/v2/token?"+query, "AWS", f.password)
		var out struct{ Token string }
		if err := json.Unmarshal([]byte(body), &out); err != nil || resp.StatusCode != 200 {
			t.Fatalf("the token endpoint answered %d %s", resp.StatusCode, body)
		}
		return out.Token
	}
	pull := token("service=ecr.amazonaws.com&scope=repository:hello:pull")
	resp, body = get("/v2/hello/tags/list", "bearer", pull)
	want(t, "a pull token", resp, body, 200, "")
	resp, body = get("/v2/_catalog", "bearer", pull)
	want(t, "a pull token on the catalog", resp, body, 401, "UNAUTHORIZED")
	if got := resp.Header.Get("WWW-Authenticate"); !strings.HasPrefix(got, `Bearer realm="http://`+f.host+`/v2/token"`) {
		t.Errorf("the challenge is %s, want Bearer", got)
	}
	resp, body = get("/v2/", "AWS", pull)
	want(t, "a bearer token as password", resp, body, 401, "UNAUTHORIZED")
	foreign := token("scope=repository:111122223333.dkr.ecr.us-east-1.amazonaws.com/theirs:pull,push")
	resp, body = get("/v2/111122223333.dkr.ecr.us-east-1.amazonaws.com/theirs/tags/list", "bearer", foreign)
	want(t, "a token for another account", resp, body, 401, "UNAUTHORIZED")
	f.advance(registry.TokenLife + time.Minute)
	resp, body = get("/v2/", "AWS", f.password)
	want(t, "an expired password", resp, body, 401, "UNAUTHORIZED")
	f.advance(-registry.TokenLife - time.Minute)
	f.keyGone.Store(true)
	resp, body = get("/v2/", "AWS", f.password)
	want(t, "a password of a deleted key", resp, body, 401, "UNAUTHORIZED")
}

func TestTokenForm(t *testing.T) {
	f := newFixture(t, nil)
	f.rows.Create(repo("hello"), false)
	form := "grant_type=password&service=ecr.amazonaws.com&scope=repository:hello:pull,push&username=AWS&password=" + f.password
	resp, body := f.do(t, "POST", "/token", form, "Content-Type", "application/x-www-form-urlencoded", "Authorization", "none")
	var out struct {
		AccessToken string `json:"access_token"`
	}
	if err := json.Unmarshal([]byte(body), &out); err != nil || resp.StatusCode != 200 {
		t.Fatalf("POST /token answered %d %s", resp.StatusCode, body)
	}
	resp, body = f.do(t, "POST", "/v2/hello/blobs/uploads/", "", "Authorization", "Bearer "+out.AccessToken)
	want(t, "pushing with the token", resp, body, 202, "")
	resp, body = f.do(t, "DELETE", "/v2/hello/manifests/v1", "", "Authorization", "Bearer "+out.AccessToken)
	want(t, "deleting with a push token", resp, body, 401, "UNAUTHORIZED")
	resp, body = f.do(t, "POST", "/token", "grant_type=refresh_token", "Content-Type", "application/x-www-form-urlencoded")
	want(t, "another grant", resp, body, 400, "UNSUPPORTED")
}

// TestIsolation: a blob is there for a caller only through a repository that it may read.
func TestIsolation(t *testing.T) {
	f := newFixture(t, nil)
	theirs := app.RepositoryKey{Scope: app.Scope{Account: "111122223333", Region: "us-east-1"}, Name: "theirs"}
	f.rows.Create(theirs, false)
	f.rows.Create(repo("one"), false)
	f.rows.Create(repo("two"), false)
	secret := f.push(t, "one", "secret")
	if err := f.rows.Link(t.Context(), theirs, app.SHA256([]byte("secret"))); err != nil {
		t.Fatal(err)
	}
	if err := f.rows.Unlink(t.Context(), repo("one"), app.SHA256([]byte("secret"))); err != nil {
		t.Fatal(err)
	}
	resp, body := f.do(t, "GET", "/v2/one/blobs/"+secret, "")
	want(t, "a blob of another account", resp, body, 404, "BLOB_UNKNOWN")
	for _, from := range []string{"&from=" + theirs.URI(), ""} {
		resp, body = f.do(t, "POST", "/v2/one/blobs/uploads/?mount="+secret+from, "")
		want(t, "mounting from another account", resp, body, 202, "")
	}
	shared := f.push(t, "two", "shared")
	for _, from := range []string{"&from=two", "&from=" + repo("two").URI()} {
		resp, body = f.do(t, "POST", "/v2/one/blobs/uploads/?mount="+shared+from, "")
		want(t, "mounting from an own repository", resp, body, 201, "")
		resp, _ = f.do(t, "HEAD", "/v2/one/blobs/"+shared, "")
		want(t, "the mounted blob", resp, "", 200, "")
	}
	location := f.begin(t, "one")
	resp, body = f.do(t, "GET", strings.Replace(location, "/one/", "/two/", 1), "")
	want(t, "a session of another repository", resp, body, 404, "BLOB_UPLOAD_UNKNOWN")
}

func TestUploadResumesAfterRestart(t *testing.T) {
	f := newFixture(t, nil)
	f.rows.Create(repo("hello"), false)
	location := f.begin(t, "hello")
	resp, body := f.do(t, "PATCH", location, "first ", "Content-Range", "0-5")
	want(t, "the first chunk", resp, body, 202, "")
	f.server.Close()
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	f.start(t, nil)
	resp, body = f.do(t, "GET", location, "")
	if want(t, "the status", resp, body, 204, ""); resp.Header.Get("Range") != "0-5" {
		t.Errorf("the session stands at %s, want 0-5", resp.Header.Get("Range"))
	}
	for _, c := range []struct {
		name, header, body string
		status             int
	}{
		{"a chunk in the wrong place", "3-5", "abc", 416}, {"a chunk of another length", "6-9", "abc", 400},
		{"a malformed range", "6", "abc", 400}, {"a range of RFC 9110", "bytes 6-8/*", "sec", 202},
	} {
		resp, body := f.do(t, "PATCH", location, c.body, "Content-Range", c.header)
		if resp.StatusCode != c.status {
			t.Errorf("%s answered %d %s, want %d", c.name, resp.StatusCode, body, c.status)
		}
	}
	resp, body = f.do(t, "PUT", location+"?digest="+sum("first second"), "ond")
	want(t, "the end", resp, body, 201, "")
	resp, body = f.do(t, "GET", resp.Header.Get("Location"), "")
	if want(t, "the blob", resp, body, 200, ""); body != "first second" {
		t.Errorf("the blob is %q", body)
	}
	resp, body = f.do(t, "PATCH", location, "x")
	want(t, "an ended session", resp, body, 404, "BLOB_UPLOAD_UNKNOWN")
}

func TestUploadLimits(t *testing.T) {
	f := newFixture(t, func(c *registry.Config) {
		c.Limits = registry.Limits{Uploads: 2, UploadBytes: 100, BlobBytes: 80}
	})
	f.rows.Create(repo("hello"), false)
	one := f.begin(t, "hello")
	two := f.begin(t, "hello")
	resp, body := f.do(t, "POST", "/v2/hello/blobs/uploads/", "")
	want(t, "a third session", resp, body, 429, "TOOMANYREQUESTS")
	resp, body = f.do(t, "PATCH", one, strings.Repeat("a", 81))
	want(t, "a large blob", resp, body, 413, "SIZE_INVALID")
	resp, body = f.do(t, "PATCH", one, strings.Repeat("a", 60))
	want(t, "a blob", resp, body, 202, "")
	resp, body = f.do(t, "PATCH", two, strings.Repeat("a", 60))
	want(t, "more than all sessions may hold", resp, body, 429, "TOOMANYREQUESTS")
	resp, body = f.do(t, "DELETE", one, "")
	want(t, "cancelling", resp, body, 204, "")
	resp, body = f.do(t, "PATCH", two, strings.Repeat("a", 60))
	want(t, "after cancelling", resp, body, 202, "")
	f.begin(t, "hello")
	f.advance(25 * time.Hour)
	f.password, _ = f.Tokens.Issue(scope, "AKIATEST")
	f.begin(t, "hello") // the stale ones made room
	resp, body = f.do(t, "GET", two, "")
	want(t, "an expired session", resp, body, 404, "BLOB_UPLOAD_UNKNOWN")
	left, err := os.ReadDir(filepath.Join(f.dir, "uploads"))
	if err != nil || len(left) != 1 {
		t.Errorf("%d uploads are left, want 1 (%v)", len(left), err)
	}
}

// TestSlowClient: a client that stops within a body is let go, and what it sent can be resumed.
func TestSlowClient(t *testing.T) {
	f := newFixture(t, func(c *registry.Config) { c.Limits = registry.Limits{Idle: 50 * time.Millisecond} })
	f.rows.Create(repo("hello"), false)
	location := f.begin(t, "hello")
	conn, err := net.Dial("tcp", f.host)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	req, err := http.NewRequest("PATCH", "http://"+f.host+location, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.SetBasicAuth("AWS", f.password)
	fmt.Fprintf(conn, "PATCH %s HTTP/1.1\r\nHost: x\r\nAuthorization: %s\r\nContent-Length: 100\r\n\r\nhello", location, req.Header.Get("Authorization"))
	if err := conn.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	answer, err := io.ReadAll(conn)
	if err != nil || !strings.Contains(string(answer), "408 Request Timeout") {
		t.Errorf("the slow client got %q, %v, want 408", answer, err)
	}
	resp, body := f.do(t, "PUT", location+"?digest="+sum("hello world"), " world")
	want(t, "resuming", resp, body, 201, "")
}

// TestLostConnection: what arrived before the connection broke is there when the client resumes at once.
func TestLostConnection(t *testing.T) {
	f := newFixture(t, nil)
	f.rows.Create(repo("hello"), false)
	location := f.begin(t, "hello")
	req, err := http.NewRequest("PATCH", "http://"+f.host+location, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.SetBasicAuth("AWS", f.password)
	conn, err := net.Dial("tcp", f.host)
	if err != nil {
		t.Fatal(err)
	}
	first := strings.Repeat("a", 700<<10) // more than one buffer
	fmt.Fprintf(conn, "PATCH %s HTTP/1.1\r\nHost: x\r\nAuthorization: %s\r\nContent-Length: %d\r\n\r\n%s", location, req.Header.Get("Authorization"), 1<<20, first)
	if err := conn.Close(); err != nil {
		t.Fatal(err)
	}
	status := fmt.Sprintf("0-%d", len(first)-1)
	deadline := time.Now().Add(10 * time.Second)
	for resp, _ := f.do(t, "GET", location, ""); resp.Header.Get("Range") != status; resp, _ = f.do(t, "GET", location, "") {
		if time.Now().After(deadline) {
			t.Fatalf("the session stands at %s, want %s", resp.Header.Get("Range"), status)
		}
	}
	resp, body := f.do(t, "PUT", location+"?digest="+sum(first+"end"), "end", "Content-Range", fmt.Sprintf("%d-%d", len(first), len(first)+2))
	want(t, "resuming", resp, body, 201, "")
}

func TestBlobRanges(t *testing.T) {
	f := newFixture(t, nil)
	f.rows.Create(repo("hello"), false)
	path := "/v2/hello/blobs/" + f.push(t, "hello", "0123456789")
	for _, c := range []struct {
		header, body, contentRange string
		status                     int
	}{
		{"", "0123456789", "", 200}, {"bytes=2-4", "234", "bytes 2-4/10", 206}, {"bytes=7-", "789", "bytes 7-9/10", 206},
		{"bytes=-3", "789", "bytes 7-9/10", 206}, {"bytes=-99", "0123456789", "bytes 0-9/10", 206}, {"bytes=8-99", "89", "bytes 8-9/10", 206},
		{"bytes=10-", "", "bytes */10", 416}, {"bytes=4-2", "", "bytes */10", 416}, {"bytes=x", "", "bytes */10", 416}, {"bytes=-0", "", "bytes */10", 416},
		{"bytes=0-1,3-4", "0123456789", "", 200}, {"lines=1-2", "0123456789", "", 200},
	} {
		resp, body := f.do(t, "GET", path, "", "Range", c.header)
		if resp.StatusCode != c.status || c.status != 416 && body != c.body || resp.Header.Get("Content-Range") != c.contentRange {
			t.Errorf("Range %q answered %d %q %q, want %d %q %q", c.header, resp.StatusCode, resp.Header.Get("Content-Range"), body, c.status, c.contentRange, c.body)
		}
	}
	resp, _ := f.do(t, "GET", path, "", "If-None-Match", `"`+sum("0123456789")+`"`)
	want(t, "an unchanged blob", resp, "", 304, "")
	resp, _ = f.do(t, "GET", path, "", "Range", "bytes=1-2", "If-Range", `"other"`)
	want(t, "a range of another version", resp, "", 200, "")
}

func TestListPages(t *testing.T) {
	f := newFixture(t, nil)
	f.rows.Create(repo("hello"), false)
	for _, tag := range []string{"c", "a", "d", "b"} {
		f.pushImage(t, "hello", tag, "config "+tag)
	}
	var got []string
	for path := "/v2/hello/tags/list?n=3"; path != ""; {
		resp, body := f.do(t, "GET", path, "")
		var page struct{ Tags []string }
		if err := json.Unmarshal([]byte(body), &page); err != nil {
			t.Fatal(err)
		}
		got = append(got, strings.Join(page.Tags, ""))
		link, _, _ := strings.Cut(strings.TrimPrefix(resp.Header.Get("Link"), "<"), ">")
		path = link
	}
	if strings.Join(got, " ") != "abc d" {
		t.Errorf("the pages are %q, want abc and d", got)
	}
	resp, body := f.do(t, "DELETE", "/v2/hello/blobs/"+sum("config a"), "")
	want(t, "deleting a blob in use", resp, body, 405, "UNSUPPORTED")
}

func TestFullDisk(t *testing.T) {
	f := newFixture(t, func(c *registry.Config) { c.Blobs = fullDisk{c.Blobs} })
	f.rows.Create(repo("hello"), false)
	resp, body := f.do(t, "PATCH", f.begin(t, "hello"), "data")
	want(t, "a full disk", resp, body, 507, "UNAVAILABLE")
}

// fullDisk is a store that takes no bytes.
type fullDisk struct{ registry.Blobs }

func (d fullDisk) Upload(ctx context.Context, ref string) (registry.Upload, error) {
	u, err := d.Blobs.Upload(ctx, ref)
	return fullUpload{u}, err
}

type fullUpload struct{ registry.Upload }

func (fullUpload) Write([]byte) (int, error) {
	return 0, app.Errorf(app.KindUnavailable, "", "cannot write: %w", os.NewSyscallError("write", errNoSpace))
}
