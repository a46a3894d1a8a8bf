package ec2

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/funade/funade/internal/app"
	api "github.com/funade/funade/internal/aws/api/ec2"
	"github.com/funade/funade/internal/aws/wire"
)

type thing struct {
	id, color string
	big       bool
	tags      app.Tags
}

var things = described[thing]{
	id:   func(t thing) string { return t.id },
	tags: func(t thing) app.Tags { return t.tags },
	filters: map[string]func(thing) []string{
		"color": one(func(t thing) string { return t.color }), "big": flag(func(t thing) bool { return t.big }), "state": fixed[thing]("available"), "never": fixed[thing](),
	},
}

var five = []thing{
	{id: "c", color: "red"}, {id: "a", color: "blue", big: true, tags: app.Tags{"Name": "first"}}, {id: "e"}, {id: "b", color: "dark red", tags: app.Tags{"Name": "", "env": "first"}}, {id: "d", color: "a/b[1]"},
}

func by(name string, values ...string) []api.Filter {
	return []api.Filter{{Name: &name, Values: values}}
}

func ids(list []thing) string {
	var b strings.Builder
	for _, t := range list {
		b.WriteString(t.id)
	}
	return b.String()
}

func TestDescribeSelects(t *testing.T) {
	for want, filters := range map[string][][]api.Filter{
		"abcde": {nil, by("state", "avail*"), by("big", "true", "false")},
		"c":     {by("color", "red"), by("color", "r?d")},
		"bc":    {by("color", "*red"), by("color", "red", "dark*")},
		"a":     {by("big", "true"), by("tag:Name", "f*"), slices.Concat(by("color", "*"), by("tag-key", "Name"), by("tag-value", "first"), by("big", "true"))},
		"ab":    {by("tag-key", "Name"), by("tag-value", "first")},
		"b":     {by("tag:Name", ""), by("tag:env", "first")},
		"abcd":  {by("color", "*")},
		"d":     {by("color", "a/b[1]"), by("color", "a*b[?]"), by("color", "a?b*")},
		"":      {by("never", "*"), by("color"), by("color", "Red"), by("color", `r\*`), by("color", `red\`), by("tag:none", "*"), slices.Concat(by("color", "red"), by("big", "true"))},
	} {
		for _, f := range filters {
			got, next, err := describe(query{filters: f}, five, things)
			if err != nil || ids(got) != want || next != nil || got == nil {
				t.Errorf("%+v: got %q, %v, %v, want %q", f, ids(got), next, err, want)
			}
		}
	}
}

func TestDescribeByID(t *testing.T) {
	missing := func(id string) error {
		return &app.Error{Kind: app.KindNotFound, Code: "InvalidThing.NotFound", Message: "no " + id}
	}
	if got, _, err := describe(query{ids: []string{"d", "a", "d"}, missing: missing}, five, things); err != nil || ids(got) != "ad" {
		t.Errorf("got %q, %v", ids(got), err)
	}
	// An object that exists but that a filter leaves out is no error.
	if got, _, err := describe(query{ids: []string{"a"}, filters: by("color", "red"), missing: missing}, five, things); err != nil || len(got) != 0 {
		t.Errorf("got %q, %v", ids(got), err)
	}
	for code, q := range map[string]query{
		"InvalidThing.NotFound":       {ids: []string{"a", "z"}, missing: missing},
		"InvalidParameterCombination": {ids: []string{"a"}, max: new(int32(5)), missing: missing},
		"InvalidParameterValue":       {filters: by("shape", "x")},
		"FilterLimitExceeded":         {filters: by("color", make([]string, 201)...)},
		"InvalidNextToken":            {token: new("AAAA")},
	} {
		_, _, err := describe(q, five, things)
		var e *wire.Error
		if !errors.As(err, &e) || e.Code != code {
			t.Errorf("got %v, want %s", err, code)
		}
	}
	for _, n := range []int32{0, 4, 1001} {
		if _, _, err := describe(query{max: &n}, five, things); err == nil {
			t.Errorf("MaxResults %d was accepted", n)
		}
	}
}

// Pages of every size hold everything once and in order, also when objects come and go between them.
func TestDescribePages(t *testing.T) {
	var all []thing
	for n := range 23 {
		all = append(all, thing{id: fmt.Sprintf("%02d", 22-n)})
	}
	for size := int32(1); size <= 24; size++ {
		var seen []thing
		var token *string
		for calls := 0; calls == 0 || token != nil; calls++ {
			page, next, err := describe(query{max: &size, token: token, minimum: 1}, all, things)
			if err != nil || len(page) > int(size) || calls > 23 {
				t.Fatalf("size %d, call %d: %d, %v", size, calls, len(page), err)
			}
			seen, token = append(seen, page...), next
		}
		if len(seen) != 23 || !slices.IsSortedFunc(seen, func(a, b thing) int { return strings.Compare(a.id, b.id) }) {
			t.Errorf("size %d: %q", size, ids(seen))
		}
	}
	size := int32(5)
	_, token, err := describe(query{max: &size}, all, things)
	if err != nil {
		t.Fatal(err)
	}
	without := slices.DeleteFunc(slices.Clone(all), func(x thing) bool { return x.id == "04" || x.id == "05" })
	if page, _, err := describe(query{max: &size, token: token}, without, things); err != nil || ids(page) != "0607080910" {
		t.Errorf("got %q, %v", ids(page), err)
	}
	if page, next, err := describe(query{max: &size, token: token}, all[20:], things); err != nil || len(page) != 0 || next != nil {
		t.Errorf("past the end: %q, %v, %v", ids(page), next, err)
	}
	if _, _, err := describe(query{max: &size, token: token, filters: by("state", "*")}, all, things); err == nil {
		t.Error("a token of another query was accepted")
	}
}

// FuzzWildcard: a pattern without wildcards matches only itself, and none may panic.
func FuzzWildcard(f *testing.F) {
	f.Add("a*b?", "axxby")
	f.Add(`\*[/]`, "*[/]")
	f.Fuzz(func(t *testing.T, pattern, value string) {
		got := wildcard(pattern, value)
		if !strings.ContainsAny(pattern, `*?\`) && got != (pattern == value) {
			t.Errorf("%q matches %q: %v", pattern, value, got)
		}
		if !wildcard("*", value) || value != "" && wildcard("", value) {
			t.Errorf("* or the empty pattern is wrong for %q", value)
		}
	})
}
