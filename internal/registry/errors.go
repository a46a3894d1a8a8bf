package registry

import (
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"syscall"

	"github.com/funade/funade/internal/app"
)

// failure is an answer in the protocol's error form (distribution-spec 1.1 "Error Codes").
type failure struct {
	status  int
	code    string
	message string
	detail  any
	// challenge asks for credentials.
	challenge bool
	err       error
}

func (f *failure) Error() string { return f.message }
func (f *failure) Unwrap() error { return f.err }

func fail(status int, code, message string) *failure {
	return &failure{status: status, code: code, message: message}
}

var (
	errName      = fail(http.StatusBadRequest, "NAME_INVALID", "invalid repository name: expected 2 to 256 lower-case letters, digits and single separators ._-/")
	errDigest    = fail(http.StatusBadRequest, "DIGEST_INVALID", "invalid digest: expected sha256: or sha512: and lower-case hex digits")
	errTag       = fail(http.StatusBadRequest, "TAG_INVALID", "invalid tag: expected up to 128 letters, digits and ._-")
	errBlob      = fail(http.StatusNotFound, "BLOB_UNKNOWN", "the blob does not exist in this repository")
	errUpload    = fail(http.StatusNotFound, "BLOB_UPLOAD_UNKNOWN", "the upload does not exist or has expired: start the upload again")
	errBusy      = fail(http.StatusConflict, "BLOB_UPLOAD_INVALID", "another request is writing to this upload: wait for it to end, then ask for the upload's status")
	errMethod    = fail(http.StatusMethodNotAllowed, "UNSUPPORTED", "the operation is unsupported")
	errPath      = fail(http.StatusNotFound, "UNSUPPORTED", "there is no such registry endpoint")
	errHeaders   = fail(http.StatusRequestHeaderFieldsTooLarge, "UNSUPPORTED", "the request's headers exceed 64 KiB")
	errBlobSize  = fail(http.StatusRequestEntityTooLarge, "SIZE_INVALID", "the blob exceeds this registry's limit for one blob")
	errSpace     = fail(http.StatusTooManyRequests, "TOOMANYREQUESTS", "the uploads in progress reach this registry's limit: try again when others have ended")
	errPageCount = fail(http.StatusBadRequest, "PAGINATION_NUMBER_INVALID", "invalid n: expected a number from 0 to 2147483647")
)

// failureOf maps an error to an answer, once for the whole protocol.
func failureOf(err error) *failure {
	var f *failure
	if errors.As(err, &f) {
		return f
	}
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return &failure{http.StatusInsufficientStorage, "UNAVAILABLE", "the registry's disk is full: delete images or free space, then push again", nil, false, err}
	}
	var e *app.Error
	if !errors.As(err, &e) {
		e = &app.Error{Message: "internal error"}
	}
	out := &failure{message: e.Message, err: err}
	switch e.Kind {
	case app.KindNotFound:
		out.status, out.code = http.StatusNotFound, "MANIFEST_UNKNOWN"
		if e.Code == "RepositoryNotFoundException" {
			out.code = "NAME_UNKNOWN"
		}
	case app.KindExists, app.KindInvalidState:
		out.status, out.code = http.StatusBadRequest, "TAG_INVALID"
	case app.KindInvalidRequest:
		out.status, out.code = http.StatusBadRequest, "MANIFEST_INVALID"
	case app.KindDenied:
		out.status, out.code = http.StatusForbidden, "DENIED"
	case app.KindQuota, app.KindThrottled:
		out.status, out.code = http.StatusTooManyRequests, "TOOMANYREQUESTS"
	case app.KindUnavailable:
		out.status, out.code = http.StatusServiceUnavailable, "UNAVAILABLE"
	default:
		out.status, out.code, out.message = http.StatusInternalServerError, "UNKNOWN", "internal error: see the server's log"
	}
	return out
}

// answerError writes the error; bodies of HEAD answers are dropped by net/http.
func (r *Registry) answerError(w http.ResponseWriter, req *http.Request, err error) {
	f := failureOf(err)
	if f.status >= 500 {
		r.Log.Error("cannot serve registry request", "method", req.Method, "path", req.URL.Path, "error", err)
	}
	if f.challenge {
		w.Header().Set("WWW-Authenticate", r.challenge(req))
	}
	if f.status == http.StatusTooManyRequests || f.status == http.StatusServiceUnavailable {
		w.Header().Set("Retry-After", "10")
	}
	entry := map[string]any{"code": f.code, "message": f.message}
	if f.detail != nil {
		entry["detail"] = f.detail
	}
	body, marshalErr := json.Marshal(map[string]any{"errors": []any{entry}})
	if marshalErr != nil {
		body = []byte(`{"errors":[{"code":"UNKNOWN","message":"internal error"}]}`)
	}
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(f.status)
	_, _ = w.Write(body) // the client is gone when this fails
}

// errNoRepository words a missing repository as ECR does, with the remedy.
func errNoRepository(key app.RepositoryKey) error {
	return &app.Error{Kind: app.KindNotFound, Code: "RepositoryNotFoundException", Resource: key.ARN(),
		Message: "The repository with name '" + key.Name + "' does not exist in the registry with id '" + string(key.Scope.Account) +
			"' in region " + string(key.Scope.Region) + ". Create it: aws ecr create-repository --region " + string(key.Scope.Region) +
			" --repository-name " + key.Name}
}

// withRepository replaces a catalogue's "no such repository" by the one that names the remedy.
func withRepository(key app.RepositoryKey, err error) error {
	var e *app.Error
	if errors.As(err, &e) && e.Kind == app.KindNotFound && (e.Code == "RepositoryNotFoundException" || e.Code == "") {
		return errNoRepository(key)
	}
	return err
}

// withManifest words a missing manifest.
func withManifest(key app.RepositoryKey, reference string, err error) error {
	var e *app.Error
	if errors.As(err, &e) && e.Kind == app.KindNotFound && e.Code == "ImageNotFoundException" {
		what := "tag"
		if strings.Contains(reference, ":") {
			what = "digest"
		}
		return &app.Error{Kind: app.KindNotFound, Code: e.Code, Resource: key.ARN(),
			Message: "Requested image not found: no image with " + what + " '" + reference + "' in repository '" + key.Name + "'", Err: err}
	}
	return withRepository(key, err)
}

// ecrError turns a failure of the protocol into the error that ECR's API has for it; other errors stay.
func ecrError(key app.RepositoryKey, err error) error {
	var f *failure
	if !errors.As(err, &f) {
		return err
	}
	out := &app.Error{Kind: app.KindInvalidRequest, Code: "InvalidParameterException", Resource: key.ARN(), Message: f.message, Err: err}
	switch f.code {
	case "MANIFEST_BLOB_UNKNOWN":
		out.Kind, out.Code = app.KindNotFound, "LayersNotFoundException"
	case "DIGEST_INVALID":
		out.Code = "ImageDigestDoesNotMatchException"
	}
	return out
}
