package app

import (
	"strings"
	"testing"
)

var testScope = Scope{"000000000000", "us-east-1"}

func TestParseReference(t *testing.T) {
	sum := "sha256:" + strings.Repeat("a", 64)
	hosts := []string{"localhost:4566", "registry.example:5000"}
	for _, c := range []struct{ in, want string }{
		{"nginx", "docker.io/library/nginx:latest"},
		{"nginx:1.27", "docker.io/library/nginx:1.27"},
		{"bitnami/redis@" + sum, "docker.io/bitnami/redis@" + sum},
		{"index.docker.io/nginx", "docker.io/library/nginx:latest"},
		{"docker.io/library/nginx", "docker.io/library/nginx:latest"},
		{"localhost/app", "localhost/app:latest"},
		{"localhost:5000/app:v1", "localhost:5000/app:v1"},
		{"ghcr.io/a/b:v1@" + sum, "ghcr.io/a/b:v1@" + sum},
		{"public.ecr.aws/nginx/nginx:latest", "public.ecr.aws/nginx/nginx:latest"},
		{"localhost:4566/hello:v1", "local 000000000000.dkr.ecr.us-east-1.amazonaws.com/hello:v1"},
		{"127.0.0.1:4566/hello", "local 000000000000.dkr.ecr.us-east-1.amazonaws.com/hello:latest"},
		{"[::1]:4566/hello", "local 000000000000.dkr.ecr.us-east-1.amazonaws.com/hello:latest"},
		{"registry.example:5000/team/hello", "local 000000000000.dkr.ecr.us-east-1.amazonaws.com/team/hello:latest"},
		{"localhost:4566/111122223333.dkr.ecr.eu-west-1.amazonaws.com/hello:v1", "local 111122223333.dkr.ecr.eu-west-1.amazonaws.com/hello:v1"},
		{"111122223333.dkr.ecr.eu-west-1.amazonaws.com/a/b@" + sum, "local 111122223333.dkr.ecr.eu-west-1.amazonaws.com/a/b@" + sum},
		{"111122223333.dkr.ecr.us-gov-west-1.amazonaws.com/app", "local 111122223333.dkr.ecr.us-gov-west-1.amazonaws.com/app:latest"},
		{"111122223333.dkr.ecr.eu-west-1.amazonaws.com:443/app", "local 111122223333.dkr.ecr.eu-west-1.amazonaws.com/app:latest"},
		{"", "error"},
		{"UPPER", "error"},
		{"a//b", "error"},
		{"nginx:", "error"},
		{"nginx@sha256:abc", "error"},
		{"nginx:bad tag", "error"},
		{"localhost:4566/x", "error"},
		{"bad_host:80/app", "error"},
		{"host.example/" + strings.Repeat("a", 300), "error"},
		{strings.Repeat("a", 2000), "error"},
	} {
		ref, err := ParseReference(c.in, testScope, hosts...)
		got := ref.String()
		if ref.Local {
			got = "local " + got
		}
		if err != nil {
			got = "error"
			if KindOf(err) != KindInvalidRequest {
				t.Errorf("ParseReference(%q) failed with %v, want KindInvalidRequest", c.in, err)
			}
		}
		if got != c.want {
			t.Errorf("ParseReference(%q) = %q, want %q (%v)", c.in, got, c.want, err)
		}
	}
}

func FuzzParseReference(f *testing.F) {
	for _, s := range []string{"nginx", "localhost:4566/a/b:v1", "ghcr.io/a/b@sha256:" + strings.Repeat("0", 64),
		"111122223333.dkr.ecr.eu-west-1.amazonaws.com/x/y", "[::1]:4566/hello", "a:b:c@d"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, image string) {
		ref, err := ParseReference(image, testScope, "localhost:4566")
		if err != nil {
			return
		}
		again, err := ParseReference(ref.String(), testScope, "localhost:4566")
		if err != nil || again != ref {
			t.Errorf("ParseReference(%q) = %+v, but its text %q parses to %+v, %v", image, ref, ref.String(), again, err)
		}
	})
}
