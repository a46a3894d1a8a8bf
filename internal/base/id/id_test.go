package id

import (
	"bytes"
	"regexp"
	"testing"
)

func TestForms(t *testing.T) {
	var s Source
	for name, c := range map[string]struct{ got, form string }{
		"hex32":    {s.Hex32(), `^[0-9a-f]{32}$`},
		"prefixed": {s.Prefixed("eni"), `^eni-[0-9a-f]{17}$`},
		"label":    {s.Label(), `^[a-z][a-z0-9]{9}$`},
	} {
		if !regexp.MustCompile(c.form).MatchString(c.got) {
			t.Errorf("%s = %q, want %s", name, c.got, c.form)
		}
	}
}

func TestSeededSourceRepeats(t *testing.T) {
	seed := bytes.Repeat([]byte{7, 255, 36, 1}, 64)
	a, b := Source{bytes.NewReader(seed)}, Source{bytes.NewReader(seed)}
	if x, y := a.Label()+a.Hex32(), b.Label()+b.Hex32(); x != y {
		t.Errorf("%s and %s came from the same bytes", x, y)
	}
}

func TestNoRandomBytesPanics(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("an id without random bytes was given out")
		}
	}()
	Source{bytes.NewReader(nil)}.Hex32()
}
