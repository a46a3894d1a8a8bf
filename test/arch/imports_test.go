package arch

import (
	"regexp"
	"strings"
	"testing"
)

// layer says what the packages of one part may import from this module, beside base and packages of the same part.
type layer struct {
	part   string   // folder under internal, with all below it
	may    []string // folders whose packages are allowed
	only   []string // exact packages that are allowed, when their subpackages are not
	reason string
}

// The table reads like the one in ARCHITECTURE.md. The first part that fits a package counts.
var layers = []layer{
	{"internal/base", nil, nil, "base holds helpers without opinions, so that everybody may use them"},
	{"internal/app", nil, nil, "the model is what all parts agree on, so it depends on none"},
	{"internal/scale", []string{"internal/app"}, nil, "scaling is a pure decision over values of the model"},
	{"internal/identity", []string{"internal/app"}, nil, "evaluating policies is pure and must not depend on where they are kept"},
	{"internal/store", []string{"internal/app"}, nil, "the store remembers rows; what they mean is decided above it"},
	{"internal/aws", nil, nil, "the AWS protocols know no product, so that they can be tested against AWS' own clients alone"},
	{"internal/session", nil, nil, "both ends of a session speak the protocol; what is at its ends they say themselves"},
	{"internal/exchange", nil, nil, "the HTTP core is replaceable and knows nothing of services"},
	{"internal/router", []string{"internal/app", "internal/exchange", "internal/waf"}, nil, "requests never touch the store or the API; the router gets plain values"},
	{"internal/edge", []string{"internal/app", "internal/exchange", "internal/waf"}, nil, "requests never touch the store or the API; the edge gets plain values"},
	{"internal/engine", []string{"internal/app"}, nil, "a mechanism gets desired state as values and reports; it does not read rows"},
	{"internal/vpc", []string{"internal/app"}, nil, "a mechanism gets desired state as values and reports; it does not read rows"},
	{"internal/waf", []string{"internal/app"}, nil, "rules are compiled from values and evaluated per request"},
	{"internal/registry", []string{"internal/app"}, []string{"internal/engine"}, "the registry speaks to rows and blobs through small interfaces; those of blobs are the engine's"},
	{"internal/logs", []string{"internal/app"}, nil, "the log store keeps lines; groups come through a small interface"},
	{"internal/metrics", []string{"internal/app"}, nil, "the metric store keeps samples only"},
	{"internal/secrets", []string{"internal/app"}, nil, "who holds keys should depend on as little as possible"},
	{"internal/ca", []string{"internal/app"}, nil, "who holds keys should depend on as little as possible"},
	{"internal/dns", []string{"internal/app"}, nil, "names are answered from values"},
	{"internal/audit", []string{"internal/app"}, nil, "the audit trail records, it does not decide"},
	{"internal/build", []string{"internal/app"}, nil, "a build turns source into an image and knows nothing else"},
	{"internal/control", []string{"internal/app", "internal/store", "internal/scale", "internal/identity"}, []string{"internal/vpc", "internal/waf"},
		"control decides and writes rows; it touches neither the world nor the API"},
	{"internal/converge", []string{"internal/app", "internal/store"},
		[]string{"internal/engine", "internal/vpc", "internal/router", "internal/router/health", "internal/edge", "internal/waf", "internal/registry", "internal/logs", "internal/metrics", "internal/ca", "internal/dns", "internal/build"},
		"convergers compare rows with the world through the mechanisms' interfaces, never an implementation"},
	{"internal/server", []string{"internal/aws", "internal/app", "internal/control", "internal/session"}, []string{"internal/logs", "internal/metrics", "internal/registry"},
		"answering the API is translating; work is done by control, reading and writing by small interfaces over the values of logs, metrics and registry"},
	{"internal/cli", []string{"internal/aws", "internal/session"}, nil, "the command line is a client of the public API, so that it works from any machine"},
	{"internal/console", []string{"internal/aws"}, nil, "the console is a client of the public API"},
}

func TestImports(t *testing.T) {
	for _, f := range files(t, func(f *file) bool { return under(f.dir, "internal") && !f.test }) {
		l := layerOf(f.dir)
		if l == nil {
			t.Errorf("%s: package %s has no place in the table of %s; say there what it may import and why", f.path, f.dir, "test/arch/imports_test.go")
			continue
		}
		for _, imp := range f.imports {
			dir, ours := strings.CutPrefix(imp, module+"/")
			if ours && !l.allows(dir) {
				t.Errorf("%s imports %s: %s", f.path, dir, l.reason)
			}
		}
	}
}

func layerOf(dir string) *layer {
	for i := range layers {
		if under(dir, layers[i].part) {
			return &layers[i]
		}
	}
	return nil
}

func (l *layer) allows(dir string) bool {
	if under(dir, l.part) || under(dir, "internal/base") {
		return true
	}
	for _, m := range l.may {
		if under(dir, m) {
			return true
		}
	}
	for _, o := range l.only {
		if dir == o {
			return true
		}
	}
	return false
}

// TestPureParts keeps the world out of the parts that decide: they could not be simulated otherwise.
func TestPureParts(t *testing.T) {
	for _, r := range []struct {
		part, reason string
		forbidden    []string
	}{
		{"internal/app", "the model imports the standard library's pure parts only", []string{"os", "os/exec", "net/http", "syscall"}},
		{"internal/control", "control does no I/O: what touches the world is a converger", []string{"os", "os/exec", "net", "net/http", "syscall"}},
		{"internal/scale", "scaling is a pure function of its arguments", []string{"os", "os/exec", "net", "net/http", "syscall"}},
	} {
		if layerOf(r.part) == nil {
			t.Errorf("the part %s has no place in the table", r.part)
		}
		for _, f := range files(t, func(f *file) bool { return !f.test }) {
			if !under(f.dir, r.part) {
				continue
			}
			for _, imp := range f.imports {
				for _, no := range r.forbidden {
					if imp == no {
						t.Errorf("%s imports %s: %s", f.path, imp, r.reason)
					}
				}
			}
		}
	}
}

// TestModelUsesStandardLibraryOnly keeps dependencies out of the package that everybody imports.
func TestModelUsesStandardLibraryOnly(t *testing.T) {
	for _, f := range files(t, func(f *file) bool { return under(f.dir, "internal/app") && !f.test }) {
		for _, imp := range f.imports {
			if strings.Contains(strings.SplitN(imp, "/", 2)[0], ".") && !under(strings.TrimPrefix(imp, module+"/"), "internal/app") {
				t.Errorf("%s imports %s: the model is imported by every package, so it may bring nothing along", f.path, imp)
			}
		}
	}
}

// TestCommandsAreNotLibraries keeps everything outside internal at the edge.
func TestCommandsAreNotLibraries(t *testing.T) {
	for _, f := range files(t, func(f *file) bool { return under(f.dir, "internal") }) {
		for _, imp := range f.imports {
			dir, ours := strings.CutPrefix(imp, module+"/")
			// Tests may use the maker of test images.
			if ours && !under(dir, "internal") && !(f.test && under(dir, "build/ociimage")) {
				t.Errorf("%s imports %s: imports go down only, and %s is above internal", f.path, dir, dir)
			}
		}
	}
}

// heavy modules are large, change often or could be exchanged; one package each knows them, or the package and
// those below it (the engine and the program that it starts beside each container).
var heavy = []struct {
	modules *regexp.Regexp
	name    string
}{
	{regexp.MustCompile(`^github\.com/containerd/containerd/`), "containerd"},
	{regexp.MustCompile(`^k8s\.io/`), "client-go"},
	{regexp.MustCompile(`^github\.com/(google/nftables|mdlayher/netlink)(/|$)`), "nftables"},
	{regexp.MustCompile(`^github\.com/vishvananda/netlink(/|$)`), "netlink"},
	{regexp.MustCompile(`^modernc\.org/sqlite(/|$)`), "the SQL driver"},
	{regexp.MustCompile(`^github\.com/corazawaf/`), "the rule engine of the web application firewall"},
	{regexp.MustCompile(`^github\.com/miekg/dns(/|$)`), "the DNS library"},
	{regexp.MustCompile(`^github\.com/alecthomas/kong(/|$)`), "the command-line parser"},
}

func TestHeavyModulesHaveOneHolder(t *testing.T) {
	for _, h := range heavy {
		holder := ""
		for _, f := range files(t, func(f *file) bool { return !f.test }) {
			for _, imp := range f.imports {
				if !h.modules.MatchString(imp) {
					continue
				}
				if holder == "" {
					holder = f.dir
				}
				if !under(f.dir, holder) {
					t.Errorf("%s imports %s, which %s imports too: %s is behind exactly one package, so that it can be exchanged", f.path, imp, holder, h.name)
				}
			}
		}
	}
}
