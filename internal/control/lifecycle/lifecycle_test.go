package lifecycle

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/funade/funade/internal/app"
)

var now = time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)

// rule writes one rule; selection is the inside of its JSON object.
func rule(priority int, selection string) string {
	return fmt.Sprintf(`{"rulePriority":%d,"selection":{%s},"action":{"type":"expire"}}`, priority, selection)
}

func policy(rules ...string) string { return `{"rules":[` + strings.Join(rules, ",") + `]}` }

func count(n int) string { return fmt.Sprintf(`"countType":"imageCountMoreThan","countNumber":%d`, n) }
func days(n int) string {
	return fmt.Sprintf(`"countType":"sinceImagePushed","countUnit":"days","countNumber":%d`, n)
}

// image is pushed the given number of days before now; its digest is its name.
func image(name string, age int, tags ...string) app.Manifest {
	return app.Manifest{Digest: app.Digest(name), PushedAt: now.AddDate(0, 0, -age), Tags: tags}
}

func TestExpired(t *testing.T) {
	index := image("index", 1, "multi")
	index.Manifests = []app.Digest{"child"}
	signature := image("signature", 1)
	signature.Subject = "old"
	orphan := image("orphan", 30)
	orphan.Subject = "absent"
	for _, c := range []struct {
		name   string
		policy string
		images []app.Manifest
		want   string
	}{
		{"count keeps the youngest", policy(rule(1, `"tagStatus":"any",`+count(2))),
			[]app.Manifest{image("a", 1), image("d", 4), image("b", 2), image("c", 3)}, "d c"},
		{"days are exclusive", policy(rule(1, `"tagStatus":"untagged",`+days(14))),
			[]app.Manifest{image("a", 13), image("b", 14), image("c", 15), image("d", 99, "kept")}, "c"},
		{"prefix", policy(rule(1, `"tagStatus":"tagged","tagPrefixList":["prod"],`+count(1))),
			[]app.Manifest{image("a", 1, "prod-1"), image("b", 2, "prod-2"), image("c", 3, "beta"), image("d", 4)}, "b"},
		{"all prefixes must match", policy(rule(1, `"tagStatus":"tagged","tagPrefixList":["alpha","beta"],`+days(5))),
			[]app.Manifest{image("a", 10, "alpha-1"), image("b", 11, "beta-1"), image("c", 12, "alpha-2", "beta-2"), image("d", 4, "alpha", "beta")}, "c"},
		{"pattern", policy(rule(1, `"tagStatus":"tagged","tagPatternList":["prod*web"],`+count(1))),
			[]app.Manifest{image("a", 1, "prod-1-web"), image("b", 2, "prodweb"), image("c", 3, "prod-web-2")}, "b"},
		{"a matched image is safe from later rules", policy(
			rule(1, `"tagStatus":"tagged","tagPrefixList":["prod"],`+count(1)),
			rule(2, `"tagStatus":"tagged","tagPrefixList":["beta"],`+count(1))),
			[]app.Manifest{image("a", 1, "beta-3"), image("b", 2, "beta-2", "prod-2"), image("c", 3, "prod-1"), image("d", 4, "beta-1")}, "d c"},
		{"priority decides, not order, and earlier matches still count", policy(
			rule(2, `"tagStatus":"any",`+count(1)),
			rule(1, `"tagStatus":"tagged","tagPrefixList":["prod"],`+count(1))),
			[]app.Manifest{image("a", 1, "prod-2"), image("b", 2, "prod-1"), image("c", 3, "beta"), image("d", 4)}, "d c b"},
		{"children stay while their index is there", policy(rule(1, `"tagStatus":"any",`+days(10))),
			[]app.Manifest{index, image("child", 20), image("old", 30)}, "old"},
		{"referrers go with their subject", policy(rule(1, `"tagStatus":"tagged","tagPrefixList":["v"],`+days(10))),
			[]app.Manifest{image("old", 20, "v1"), signature, image("new", 1, "v2")}, "old signature"},
		{"referrers do not count", policy(rule(1, `"tagStatus":"any",`+count(2))),
			[]app.Manifest{image("old", 20, "v1"), signature, image("new", 2, "v2")}, ""},
		{"referrers without subject are images", policy(rule(1, `"tagStatus":"untagged",`+days(10))), []app.Manifest{orphan}, "orphan"},
		{"nothing to do", policy(rule(1, `"tagStatus":"any",`+count(5))), nil, ""},
	} {
		p, err := Parse(c.policy)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		var got []string
		for _, d := range Expired(p, c.images, now) {
			got = append(got, string(d))
		}
		if strings.Join(got, " ") != c.want {
			t.Errorf("%s: expired %q, want %q", c.name, strings.Join(got, " "), c.want)
		}
	}
}

func TestMatches(t *testing.T) {
	for _, c := range []struct {
		pattern, tag string
		want         bool
	}{
		{"v1", "v1", true}, {"v1", "v10", false}, {"*", "", true}, {"*", "x", true}, {"v*", "v", true}, {"*v", "v", true},
		{"a*a", "a", false}, {"a*a", "aa", true}, {"a*b*c", "axbxc", true}, {"a*b*c", "acb", false}, {"*mid*", "amidb", true}, {"**", "q", true},
	} {
		if got := matches(c.pattern, c.tag); got != c.want {
			t.Errorf("matches(%q, %q) = %v, want %v", c.pattern, c.tag, got, c.want)
		}
	}
}

func TestParse(t *testing.T) {
	p, err := Parse(`{"rules":[{"rulePriority":10,"description":"last","selection":{"tagStatus":"any",` + count(3) + `},"action":{"type":"expire"}},` +
		rule(5, `"tagStatus":"untagged",`+days(7)) + `]}`)
	want := Policy{[]Rule{
		{Priority: 5, TagStatus: Untagged, CountType: SinceImagePushed, CountNumber: 7},
		{Priority: 10, Description: "last", TagStatus: Any, CountType: ImageCountMoreThan, CountNumber: 3}}}
	if err != nil || !reflect.DeepEqual(p, want) {
		t.Fatalf("Parse = %+v, %v, want %+v", p, err, want)
	}
}

func TestParseErrors(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"empty", "", "not a lifecycle policy"},
		{"not JSON", "{", "not a lifecycle policy"},
		{"no rules", `{"rules":[]}`, "1 to 50 rules"},
		{"unknown field", `{"rules":[],"more":1}`, `unknown field "more"`},
		{"text after", policy(rule(1, `"tagStatus":"any",`+count(1))) + "x", "after the policy's closing brace"},
		{"priority", policy(rule(0, `"tagStatus":"any",`+count(1))), "rules[0]: rulePriority"},
		{"same priority", policy(rule(1, `"tagStatus":"untagged",`+count(1)), rule(1, `"tagStatus":"any",`+count(1))), "two rules have rulePriority 1"},
		{"action", `{"rules":[{"rulePriority":1,"selection":{"tagStatus":"any",` + count(1) + `},"action":{"type":"keep"}}]}`, "action.type"},
		{"no selection", `{"rules":[{"rulePriority":1,"action":{"type":"expire"}}]}`, "selection is missing"},
		{"tag status", policy(rule(1, `"tagStatus":"all",`+count(1))), `tagStatus is "all"`},
		{"tagged alone", policy(rule(1, `"tagStatus":"tagged",`+count(1))), "needs a tagPatternList"},
		{"untagged with prefix", policy(rule(1, `"tagStatus":"untagged","tagPrefixList":["a"],`+count(1))), "go only with tagStatus"},
		{"both lists", policy(rule(1, `"tagStatus":"tagged","tagPrefixList":["a"],"tagPatternList":["a*"],`+count(1))), "exclude each other"},
		{"wildcards", policy(rule(1, `"tagStatus":"tagged","tagPatternList":["*a*b*c*d*"],`+count(1))), "more than 4 wildcards"},
		{"pattern", policy(rule(1, `"tagStatus":"tagged","tagPatternList":["a b"],`+count(1))), "tag pattern"},
		{"prefix", policy(rule(1, `"tagStatus":"tagged","tagPrefixList":["a*"],`+count(1))), "tag prefix"},
		{"count type", policy(rule(1, `"tagStatus":"any","countType":"sinceImagePulled","countNumber":1`)), "countType"},
		{"no unit", policy(rule(1, `"tagStatus":"any","countType":"sinceImagePushed","countNumber":1`)), `countUnit "days"`},
		{"unit", policy(rule(1, `"tagStatus":"any","countUnit":"days",`+count(1))), "countUnit goes only"},
		{"number", policy(rule(1, `"tagStatus":"any",`+count(0))), "countNumber"},
		{"fraction", policy(rule(1, `"tagStatus":"any","countType":"imageCountMoreThan","countNumber":1.5`)), "countNumber"},
		{"any first", policy(rule(1, `"tagStatus":"any",`+count(1)), rule(2, `"tagStatus":"untagged",`+count(1))), "highest rulePriority"},
		{"untagged twice", policy(rule(1, `"tagStatus":"untagged",`+count(1)), rule(2, `"tagStatus":"untagged",`+days(1))), "only one rule"},
		{"same prefixes", policy(rule(1, `"tagStatus":"tagged","tagPrefixList":["a","b"],`+count(1)), rule(2, `"tagStatus":"tagged","tagPrefixList":["b","a"],`+days(1))), "select the same tags"},
		{"too long", strings.Repeat(" ", maxPolicy+1), "30720"},
		{"all at once", policy(rule(0, `"tagStatus":"x",`+count(0))), "rules[0]: selection.tagStatus"},
	} {
		_, err := Parse(c.text)
		if app.KindOf(err) != app.KindInvalidRequest || err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want KindInvalidRequest with %q", c.name, err, c.want)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add(policy(rule(1, `"tagStatus":"any",`+count(1))))
	f.Add(policy(rule(1, `"tagStatus":"tagged","tagPatternList":["a*b"],`+count(2)), rule(2, `"tagStatus":"untagged",`+days(3))))
	f.Add(`{"rules":[{}]}`)
	f.Fuzz(func(t *testing.T, text string) {
		p, err := Parse(text)
		if err != nil {
			if app.KindOf(err) != app.KindInvalidRequest {
				t.Errorf("Parse(%q) failed with %v, want KindInvalidRequest", text, err)
			}
			return
		}
		images := []app.Manifest{image("a", 1, "ab"), image("b", 400), image("c", 3, "v1", "v2")}
		seen := map[app.Digest]bool{}
		for _, d := range Expired(p, images, now) {
			if seen[d] {
				t.Errorf("Expired(%q) names %s twice", text, d)
			}
			seen[d] = true
		}
	})
}
