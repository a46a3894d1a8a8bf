package sigv4

import (
	"net/http"
	"net/url"
	"strings"
)

const (
	algorithm  = "AWS4-HMAC-SHA256"
	terminator = "aws4_request"
	timeFormat = "20060102T150405Z"
	dateFormat = "20060102"
)

// Credential is the credential scope of a signature.
type Credential struct {
	AccessKeyID, Date, Region, Service string
}

// Scope is the part of the credential that is signed.
func (c Credential) Scope() string {
	return c.Date + "/" + c.Region + "/" + c.Service + "/" + terminator
}

// signature is a parsed but unverified signature.
type signature struct {
	Credential
	signedHeaders []string
	hex           string
	presigned     bool
}

// ParseCredential reads the credential scope of a request without verifying anything: enough to tell which service
// and region the caller means. ok is false if there is no signature or its form is wrong.
func ParseCredential(r *http.Request) (c Credential, ok bool) {
	sig, err := parse(r, queryOf(r))
	if err != nil {
		return Credential{}, false
	}
	return sig.Credential, true
}

// queryOf parses the query for the presigned form only; a request signed in its header needs no map.
func queryOf(r *http.Request) url.Values {
	if !strings.Contains(r.URL.RawQuery, "X-Amz-") {
		return nil
	}
	return r.URL.Query()
}

func parse(r *http.Request, query url.Values) (signature, error) {
	headers := r.Header["Authorization"]
	inQuery := query.Has("X-Amz-Algorithm") || query.Has("X-Amz-Signature")
	switch {
	case len(headers) == 0 && !inQuery:
		return signature{}, &Error{Missing, "Missing Authentication Token"}
	case len(headers) > 1 || (len(headers) == 1 && inQuery):
		return signature{}, &Error{Incomplete, "The request carries more than one signature. Sign it once, in the Authorization header or in the query."}
	case inQuery:
		return parseQuery(query)
	}
	return parseHeader(headers[0])
}

func parseHeader(header string) (signature, error) {
	name, rest, _ := strings.Cut(header, " ")
	if name != algorithm {
		return signature{}, &Error{Incomplete, "The Authorization header must use the algorithm " + algorithm + "."}
	}
	var sig signature
	var credential, signed string
	for part := range strings.SplitSeq(rest, ",") {
		key, value, ok := strings.Cut(strings.TrimSpace(part), "=")
		if !ok {
			return signature{}, &Error{Incomplete, "The Authorization header must hold Credential, SignedHeaders and Signature as key=value pairs."}
		}
		var target *string
		switch key {
		case "Credential":
			target = &credential
		case "SignedHeaders":
			target = &signed
		case "Signature":
			target = &sig.hex
		default:
			continue
		}
		if *target != "" {
			return signature{}, &Error{Incomplete, "The Authorization header holds " + key + " twice."}
		}
		*target = value
	}
	for _, p := range []struct{ name, value string }{{"Credential", credential}, {"SignedHeaders", signed}, {"Signature", sig.hex}} {
		if p.value == "" {
			return signature{}, &Error{Incomplete, "Authorization header requires '" + p.name + "' parameter."}
		}
	}
	return sig.fill(credential, signed)
}

func parseQuery(query url.Values) (signature, error) {
	for _, name := range []string{"X-Amz-Algorithm", "X-Amz-Credential", "X-Amz-SignedHeaders", "X-Amz-Signature", "X-Amz-Date"} {
		if v := query[name]; len(v) != 1 || v[0] == "" {
			return signature{}, &Error{Incomplete, "A presigned request requires the query parameter '" + name + "' exactly once."}
		}
	}
	if len(query["X-Amz-Expires"]) > 1 || len(query["X-Amz-Security-Token"]) > 1 {
		return signature{}, &Error{Incomplete, "A presigned request may hold X-Amz-Expires and X-Amz-Security-Token once only."}
	}
	if query.Get("X-Amz-Algorithm") != algorithm {
		return signature{}, &Error{Incomplete, "X-Amz-Algorithm must be " + algorithm + "."}
	}
	sig := signature{presigned: true, hex: query.Get("X-Amz-Signature")}
	return sig.fill(query.Get("X-Amz-Credential"), query.Get("X-Amz-SignedHeaders"))
}

// fill splits the credential and the list of signed headers and checks their form.
func (s signature) fill(credential, signed string) (signature, error) {
	parts := strings.Split(credential, "/")
	if len(parts) != 5 || parts[4] != terminator {
		return signature{}, &Error{Incomplete, "Credential must have the form <access key>/<date>/<region>/<service>/" + terminator + "."}
	}
	for _, p := range parts {
		if p == "" || len(p) > 128 {
			return signature{}, &Error{Incomplete, "Credential has an empty or overlong part."}
		}
	}
	for _, p := range parts[1:4] { // date, region and service become parts of names
		if strings.Trim(p, "abcdefghijklmnopqrstuvwxyz0123456789-") != "" {
			return signature{}, &Error{Incomplete, "Credential should be scoped to a valid date, region and service."}
		}
	}
	s.Credential = Credential{parts[0], parts[1], parts[2], parts[3]}
	s.signedHeaders = strings.Split(signed, ";")
	if len(s.signedHeaders) > 100 {
		return signature{}, &Error{Incomplete, "SignedHeaders names more than 100 headers."}
	}
	for i, h := range s.signedHeaders {
		if h == "" || h != strings.ToLower(h) || (i > 0 && s.signedHeaders[i-1] >= h) {
			return signature{}, &Error{Incomplete, "SignedHeaders must be lower case, sorted and without duplicates."}
		}
	}
	return s, nil
}
