package registry

import (
	"encoding/json"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/funade/funade/internal/app"
)

// userName is the only user of ECR (ECR user guide, "Private registry authentication").
const userName = "AWS"

const (
	// serviceName stands in challenges and token requests.
	serviceName = "ecr.amazonaws.com"
	// maxTokenForm bounds the body of a token request, maxScopes the scopes in it.
	maxTokenForm = 32 << 10
	maxScopes    = 32
	catalogScope = "registry:catalog"
)

var plainHost = regexp.MustCompile(`^[a-zA-Z0-9.:\[\]-]+$`)

// authenticate returns who the request comes from, by Basic or Bearer credentials.
func (r *Registry) authenticate(req *http.Request) (Caller, error) {
	scheme, value, _ := strings.Cut(req.Header.Get("Authorization"), " ")
	switch {
	case strings.EqualFold(scheme, "Bearer"):
		caller, err := r.Tokens.verifyBearer(req.Context(), strings.TrimSpace(value))
		return caller, unauthorized(err)
	case strings.EqualFold(scheme, "Basic"):
		user, password, ok := req.BasicAuth()
		if !ok {
			return Caller{}, unauthorized(errToken("The Basic credentials are malformed."))
		}
		return r.login(req, user, password)
	}
	return Caller{}, unauthorized(errToken("Authentication is required: run aws ecr get-login-password and log in as user AWS."))
}

func (r *Registry) login(req *http.Request, user, password string) (Caller, error) {
	if user != userName {
		return Caller{}, unauthorized(errToken("The user name must be AWS, with the password from aws ecr get-login-password."))
	}
	caller, err := r.Tokens.Verify(req.Context(), password)
	return caller, unauthorized(err)
}

func unauthorized(err error) error {
	if err == nil {
		return nil
	}
	return &failure{http.StatusUnauthorized, "UNAUTHORIZED", err.Error(), nil, true, err}
}

// authorize refuses what the caller's token or the caller itself may not do.
func (r *Registry) authorize(req *http.Request, c call, action Action) error {
	if !c.caller.allows(c.name, action) {
		return unauthorized(errToken("The token does not cover " + action.String() + " on " + c.name + "."))
	}
	return r.Authorize(req.Context(), c.caller, c.key, action)
}

// challenge is the WWW-Authenticate header: Basic as ECR sends it, Bearer where configured or already in use.
func (r *Registry) challenge(req *http.Request) string {
	host, scheme := req.Host, "https"
	if !plainHost.MatchString(host) {
		host = r.DefaultScope.RegistryHost()
	}
	if req.TLS == nil {
		scheme = "http"
	}
	used, _, _ := strings.Cut(req.Header.Get("Authorization"), " ")
	rt := parseRoute(req.URL.Path)
	if rt.endpoint == tokenEndpoint || !r.Bearer && !strings.EqualFold(used, "Bearer") {
		return `Basic realm="` + scheme + "://" + host + `/",service="` + serviceName + `"`
	}
	out := `Bearer realm="` + scheme + "://" + host + `/v2/token",service="` + serviceName + `"`
	if rt.endpoint == catalogEndpoint {
		out += `,scope="` + catalogScope + `:*"`
	} else if app.ValidRepositoryName(rt.name) {
		actions := "pull"
		if a := actionOf(rt.endpoint, req.Method); a != Pull {
			actions += "," + a.String()
		}
		out += `,scope="repository:` + rt.name + ":" + actions + `"`
	}
	return out
}

// serveToken answers the token endpoint: GET with Basic credentials (distribution's "Token Authentication
// Specification") and POST with a form ("OAuth2 Token Authentication", grant_type=password).
func (r *Registry) serveToken(w http.ResponseWriter, req *http.Request) error {
	caller, scopes, err := r.tokenRequest(w, req)
	if err != nil {
		return err
	}
	grants := []grant{}
	for _, scope := range scopes {
		if g, ok := r.grantFor(req, caller, scope); ok {
			grants = append(grants, g)
		}
	}
	token := r.Tokens.issueBearer(caller, grants)
	return answerJSON(w, http.StatusOK, "application/json", map[string]any{
		"token": token, "access_token": token,
		"expires_in": int(bearerLife / time.Second), "issued_at": r.Now().UTC().Format(time.RFC3339),
	})
}

func (r *Registry) tokenRequest(w http.ResponseWriter, req *http.Request) (Caller, []string, error) {
	var caller Caller
	var err error
	var raw []string
	switch req.Method {
	case http.MethodGet:
		raw = req.URL.Query()["scope"]
		caller, err = r.authenticate(req)
	case http.MethodPost:
		req.Body = http.MaxBytesReader(w, paced(w, req, r.Limits), maxTokenForm)
		if err := req.ParseForm(); err != nil {
			return caller, nil, fail(http.StatusBadRequest, "UNSUPPORTED", "the token request's form is malformed or exceeds 32 KiB")
		}
		if grantType := req.PostForm.Get("grant_type"); grantType != "password" {
			return caller, nil, fail(http.StatusBadRequest, "UNSUPPORTED", "unsupported grant_type: expected password")
		}
		raw = req.PostForm["scope"]
		caller, err = r.login(req, req.PostForm.Get("username"), req.PostForm.Get("password"))
	default:
		return caller, nil, errMethod
	}
	if err != nil {
		return caller, nil, err
	}
	scopes := strings.Fields(strings.Join(raw, " "))
	if len(scopes) > maxScopes {
		return caller, nil, fail(http.StatusBadRequest, "UNSUPPORTED", "too many scopes: at most "+strconv.Itoa(maxScopes))
	}
	return caller, scopes, nil
}

// grantFor keeps of "repository:name:action,action" what the caller may do.
func (r *Registry) grantFor(req *http.Request, caller Caller, scope string) (grant, bool) {
	if scope == catalogScope+":*" {
		return grant{catalogScope, []string{"*"}}, true
	}
	kind, rest, ok := strings.Cut(scope, ":")
	i := strings.LastIndexByte(rest, ':')
	if !ok || kind != "repository" || i < 0 {
		return grant{}, false
	}
	g := grant{Name: rest[:i]}
	key, err := r.key(req.Host, g.Name)
	if err != nil {
		return grant{}, false
	}
	wanted := strings.Split(rest[i+1:], ",")
	for _, a := range []Action{Pull, Push, Delete} {
		name := a.String()
		if !slices.Contains(wanted, name) && !slices.Contains(wanted, "*") {
			continue
		}
		if caller.allows(g.Name, a) && r.Authorize(req.Context(), caller, key, a) == nil {
			g.Actions = append(g.Actions, name)
		}
	}
	return g, len(g.Actions) > 0
}

func answerJSON(w http.ResponseWriter, status int, contentType string, value any) error {
	body, err := json.Marshal(value)
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", contentType)
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	_, _ = w.Write(body) // the client is gone when this fails
	return nil
}
