package app

import (
	"net"
	"regexp"
	"slices"
	"strings"
)

// Grammars: OCI distribution-spec 1.1 "Pulling manifests" for names and tags, with ECR's lengths for names
// (ecr model 2015-09-21, RepositoryName); OCI image-spec 1.1 "Digests".
var (
	repositoryName = regexp.MustCompile(`^[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*$`)
	tagName        = regexp.MustCompile(`^[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}$`)
	digestText     = regexp.MustCompile(`^(?:sha256:[a-f0-9]{64}|sha512:[a-f0-9]{128})$`)
	registryHost   = regexp.MustCompile(`^([0-9]{12})\.dkr\.ecr(?:-fips)?\.([a-z]{2}(?:-[a-z]+)+-[0-9]{1,2})\.amazonaws\.com(?:\.cn)?$`)
	hostName       = regexp.MustCompile(`^(?:[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?(?:\.[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?)*|\[[0-9a-fA-F:.]+\])(?::[0-9]{1,5})?$`)
)

// Length limits of the parts of an image reference, in bytes.
const (
	minRepositoryName = 2
	maxRepositoryName = 256
	maxReference      = 1024
)

// Valid reports whether d is a well formed sha256 or sha512 digest.
func (d Digest) Valid() bool { return digestText.MatchString(string(d)) }

// ValidRepositoryName reports whether name may name a repository: OCI's grammar, 2 to 256 characters.
func ValidRepositoryName(name string) bool {
	return len(name) >= minRepositoryName && len(name) <= maxRepositoryName && repositoryName.MatchString(name)
}

// ValidTag reports whether tag is an OCI tag, at most 128 characters.
func ValidTag(tag string) bool { return tagName.MatchString(tag) }

// ParseRegistryHost returns the scope that <account>.dkr.ecr.<region>.amazonaws.com names; a port is ignored.
func ParseRegistryHost(host string) (Scope, bool) {
	if i := strings.LastIndexByte(host, ':'); i >= 0 {
		host = host[:i]
	}
	m := registryHost.FindStringSubmatch(strings.ToLower(host))
	if m == nil {
		return Scope{}, false
	}
	return Scope{AccountID(m[1]), Region(m[2])}, true
}

// Reference is an image reference taken apart.
type Reference struct {
	// Local: the image lives in this install's registry, in Repository. Otherwise Host and Path say where.
	Local      bool
	Repository RepositoryKey
	// Host may hold a port; Docker Hub is docker.io. Path is the repository there, "library/" filled in on Docker Hub.
	Host string
	Path string
	// Tag is "latest" when the text names neither tag nor digest, "" when it names only a digest.
	Tag    string
	Digest Digest
}

// String returns the complete reference: host, path, tag and digest. A local one has AWS's host.
func (r Reference) String() string {
	s := r.Host + "/" + r.Path
	if r.Local {
		s = r.Repository.URI()
	}
	if r.Tag != "" {
		s += ":" + r.Tag
	}
	if r.Digest != "" {
		s += "@" + string(r.Digest)
	}
	return s
}

// ParseReference takes an image reference apart. AWS's form of host always means this install's registry, and so do
// the hosts given (host or host:port; "localhost:4566"), whose paths may again begin with AWS's form; without it they
// mean the default scope. A reference without a host is Docker Hub's. Errors are KindInvalidRequest.
func ParseReference(image string, defaultScope Scope, hosts ...string) (Reference, error) {
	if image == "" || len(image) > maxReference {
		return Reference{}, badReference(image, "it must have 1 to %d characters", maxReference)
	}
	ref, rest := Reference{}, image
	if name, digest, ok := strings.Cut(rest, "@"); ok {
		if rest, ref.Digest = name, Digest(digest); !ref.Digest.Valid() {
			return Reference{}, badReference(image, "%q is not a sha256 or sha512 digest", digest)
		}
	}
	if i := strings.LastIndexByte(rest, ':'); i > strings.LastIndexByte(rest, '/') {
		if rest, ref.Tag = rest[:i], rest[i+1:]; !ValidTag(ref.Tag) {
			return Reference{}, badReference(image, "%q is not a tag: expected up to 128 letters, digits and ._-", ref.Tag)
		}
	}
	if ref.Tag == "" && ref.Digest == "" {
		ref.Tag = "latest"
	}
	return ref.locate(image, rest, defaultScope, hosts)
}

// locate splits name into host and path and decides whose registry it is.
func (r Reference) locate(image, name string, defaultScope Scope, hosts []string) (Reference, error) {
	host, path, ok := strings.Cut(name, "/")
	if !ok || !strings.ContainsAny(host, ".:") && host != "localhost" {
		host, path = "docker.io", name
	}
	if !hostName.MatchString(host) {
		return Reference{}, badReference(image, "%q is not a host name", host)
	}
	scope, local := ParseRegistryHost(host)
	if !local && slices.ContainsFunc(hosts, func(h string) bool { return sameHost(h, host) }) {
		local, scope = true, defaultScope
		if first, rest, ok := strings.Cut(path, "/"); ok {
			if s, ok := ParseRegistryHost(first); ok {
				scope, path = s, rest
			}
		}
	}
	if strings.EqualFold(host, "index.docker.io") || strings.EqualFold(host, "registry-1.docker.io") || strings.EqualFold(host, "docker.io") {
		host = "docker.io"
		if !strings.Contains(path, "/") {
			path = "library/" + path
		}
	}
	if !ValidRepositoryName(path) {
		return Reference{}, badReference(image, "%q is not a repository name: expected %d to %d lower-case letters, digits and single separators ._-/", path, minRepositoryName, maxRepositoryName)
	}
	if local {
		r.Local, r.Repository = true, RepositoryKey{scope, path}
		return r, nil
	}
	r.Host, r.Path = strings.ToLower(host), path
	return r, nil
}

// sameHost compares two host[:port] texts; all names of the loopback interface are one.
func sameHost(a, b string) bool {
	ah, ap := splitPort(a)
	bh, bp := splitPort(b)
	return ap == bp && ah == bh
}

func splitPort(host string) (name, port string) {
	name = strings.ToLower(host)
	if h, p, err := net.SplitHostPort(name); err == nil {
		name, port = h, p
	}
	name = strings.Trim(name, "[]")
	if ip := net.ParseIP(name); name == "localhost" || ip != nil && ip.IsLoopback() {
		name = "localhost"
	}
	return name, port
}

func badReference(image, format string, args ...any) error {
	shown := image
	if len(shown) > 300 {
		shown = shown[:300] + "..."
	}
	reason := Errorf(KindInvalidRequest, "", format, args...).Message
	return Errorf(KindInvalidRequest, shown, "The image reference %q is malformed: %s.", shown, reason)
}
