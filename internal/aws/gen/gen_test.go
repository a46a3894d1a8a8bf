package main

import (
	"regexp"
	"strings"
	"testing"
)

func TestTranslate(t *testing.T) {
	tests := []struct {
		text           string
		whole, bounded bool
		yes, no        []string
	}{
		{`^(?!aws:).+`, false, true, []string{"a", "xaws:"}, []string{"", "aws:x"}},
		{`^(?![Aa]ws[:)]|x(y)).+`, false, true, []string{"awsx", "x"}, []string{"aws)", "Aws:", "xy"}},
		{`(\w|\/|-){1,1011}`, false, true, []string{"a", " a "}, []string{"", " "}},
		{`(\w|\/|-){1,1011}`, true, true, []string{"a/b"}, []string{" a"}},
		{`a|b$`, true, false, []string{"a", "b"}, []string{"xb", "ax"}},
		{`[\u0020-\u007E\u10000-\u10FFFF]`, false, false, []string{"a", "\U0001F600"}, []string{"\n", "é"}},
	}
	for _, tt := range tests {
		p, err := translate(tt.text, tt.whole, tt.bounded)
		if err != nil {
			t.Errorf("%s: %v", tt.text, err)
			continue
		}
		matches := func(s string) bool {
			return regexp.MustCompile(p.expr).MatchString(s) && (p.not == "" || !regexp.MustCompile(p.not).MatchString(s))
		}
		for _, s := range tt.yes {
			if !matches(s) {
				t.Errorf("%s refuses %q", tt.text, s)
			}
		}
		for _, s := range tt.no {
			if matches(s) {
				t.Errorf("%s accepts %q", tt.text, s)
			}
		}
	}
	for _, text := range []string{`a(?!b)`, `(?<=x)y`, `^(?!a`, `a{1,2000}`} {
		if p, err := translate(text, false, false); err == nil {
			t.Errorf("%s was translated to %q", text, p.expr)
		}
	}
}

func TestConstName(t *testing.T) {
	for in, want := range map[string]string{"CREATE_FAILED": "CreateFailed", "PYTHON_3": "Python3", "active": "Active", "LogStreamName": "LogStreamName", "a-b.c": "ABC"} {
		if got := constName(in); got != want {
			t.Errorf("constName(%q) = %q, want %q", in, got, want)
		}
	}
}

// The generated packages are what the models say, and generating twice gives the same bytes.
func TestNoDrift(t *testing.T) {
	for range 2 {
		if err := run(true); err != nil {
			t.Fatal(err)
		}
	}
}

func TestCheckFindsDrift(t *testing.T) {
	err := compare(map[string][]byte{"apprunner/types.go": []byte("other")})
	if err == nil || !strings.Contains(err.Error(), "types.go") || !strings.Contains(err.Error(), "enums.go") {
		t.Errorf("got %v", err)
	}
}
