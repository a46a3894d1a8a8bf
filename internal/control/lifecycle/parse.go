package lifecycle

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/funade/funade/internal/app"
)

// Limits of a policy (ecr model 2015-09-21, LifecyclePolicyText; ECR quotas).
const (
	maxPolicy      = 30_720
	maxRules       = 50
	maxDescription = 256
	maxWildcards   = 4
	maxTagEntries  = 100
	maxTagEntry    = 128
	maxCount       = 1_000_000
)

// text forms of the policy's JSON; pointers tell absent from zero.
type policyText struct {
	Rules []ruleText `json:"rules"`
}

type ruleText struct {
	Priority    *int           `json:"rulePriority"`
	Description string         `json:"description"`
	Selection   *selectionText `json:"selection"`
	Action      *actionText    `json:"action"`
}

type selectionText struct {
	TagStatus   string   `json:"tagStatus"`
	TagPrefixes []string `json:"tagPrefixList"`
	TagPatterns []string `json:"tagPatternList"`
	CountType   string   `json:"countType"`
	CountUnit   string   `json:"countUnit"`
	CountNumber *int     `json:"countNumber"`
}

type actionText struct {
	Type string `json:"type"`
}

// Parse reads and checks a lifecycle policy. The error is KindInvalidRequest, code InvalidParameterException, and lists
// every violation with its rule.
func Parse(text string) (Policy, error) {
	if len(text) > maxPolicy {
		return Policy{}, invalid([]string{fmt.Sprintf("the text has %d characters, at most %d are allowed", len(text), maxPolicy)})
	}
	var doc policyText
	decoder := json.NewDecoder(strings.NewReader(text))
	decoder.DisallowUnknownFields()
	err := decoder.Decode(&doc)
	if err == nil {
		if _, err = decoder.Token(); errors.Is(err, io.EOF) {
			err = nil
		} else {
			err = errors.New("there is text after the policy's closing brace")
		}
	}
	if err != nil {
		return Policy{}, invalid([]string{"the text is not a lifecycle policy: " + strings.TrimPrefix(err.Error(), "json: ")})
	}
	var c checker
	if len(doc.Rules) == 0 || len(doc.Rules) > maxRules {
		c.add("rules must hold 1 to %d rules, not %d", maxRules, len(doc.Rules))
	}
	var p Policy
	for i, r := range doc.Rules[:min(len(doc.Rules), maxRules)] {
		c.where = fmt.Sprintf("rules[%d]", i)
		p.Rules = append(p.Rules, c.rule(r))
	}
	c.where = ""
	slices.SortStableFunc(p.Rules, func(a, b Rule) int { return cmp.Compare(a.Priority, b.Priority) })
	c.together(p.Rules)
	if len(c.violations) > 0 {
		return Policy{}, invalid(c.violations)
	}
	return p, nil
}

func invalid(violations []string) error {
	return &app.Error{Kind: app.KindInvalidRequest, Code: "InvalidParameterException", Resource: "lifecyclePolicyText",
		Message: "Invalid parameter at 'LifecyclePolicyText' failed to satisfy constraint: 'Lifecycle policy validation failure: " +
			strings.Join(violations, "; ") + "'"}
}

// checker collects violations; where names the rule in hand.
type checker struct {
	where      string
	violations []string
}

func (c *checker) add(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	if c.where != "" {
		text = c.where + ": " + text
	}
	c.violations = append(c.violations, text)
}

func (c *checker) rule(r ruleText) Rule {
	var out Rule
	if r.Priority == nil || *r.Priority < 1 {
		c.add("rulePriority must be a whole number from 1")
	} else {
		out.Priority = *r.Priority
	}
	if out.Description = r.Description; len(r.Description) > maxDescription {
		c.add("description has more than %d characters", maxDescription)
	}
	if r.Action == nil || r.Action.Type != "expire" {
		c.add("action.type must be \"expire\"")
	}
	if r.Selection == nil {
		c.add("selection is missing")
		return out
	}
	s := *r.Selection
	out.TagStatus, out.TagPrefixes, out.TagPatterns = TagStatus(s.TagStatus), s.TagPrefixes, s.TagPatterns
	out.CountType = CountType(s.CountType)
	c.tags(out)
	c.count(s, &out)
	return out
}

func (c *checker) tags(r Rule) {
	switch {
	case r.TagStatus != Tagged && r.TagStatus != Untagged && r.TagStatus != Any:
		c.add("selection.tagStatus is %q, expected \"tagged\", \"untagged\" or \"any\"", string(r.TagStatus))
	case r.TagStatus == Tagged && len(r.TagPrefixes)+len(r.TagPatterns) == 0:
		c.add("selection.tagStatus \"tagged\" needs a tagPatternList or a tagPrefixList")
	case r.TagStatus != Tagged && (r.TagPrefixes != nil || r.TagPatterns != nil):
		c.add("tagPatternList and tagPrefixList go only with tagStatus \"tagged\", not %q", string(r.TagStatus))
	case len(r.TagPrefixes) > 0 && len(r.TagPatterns) > 0:
		c.add("tagPatternList and tagPrefixList exclude each other")
	}
	if len(r.TagPrefixes)+len(r.TagPatterns) > maxTagEntries {
		c.add("the tag list has more than %d entries", maxTagEntries)
		return
	}
	for _, prefix := range r.TagPrefixes {
		if !app.ValidTag(prefix) {
			c.add("the tag prefix %q is not the beginning of a tag", cut(prefix))
		}
	}
	for _, pattern := range r.TagPatterns {
		if strings.Count(pattern, "*") > maxWildcards {
			c.add("the tag pattern %q has more than %d wildcards", cut(pattern), maxWildcards)
		}
		if pattern == "" || len(pattern) > maxTagEntry || strings.Trim(pattern, "*") != "" && !app.ValidTag("x"+strings.ReplaceAll(pattern, "*", "")) {
			c.add("the tag pattern %q may hold up to %d letters, digits, ._- and *", cut(pattern), maxTagEntry)
		}
	}
}

func cut(s string) string { return s[:min(len(s), maxTagEntry)] }

func (c *checker) count(s selectionText, out *Rule) {
	switch out.CountType {
	case ImageCountMoreThan:
		if s.CountUnit != "" {
			c.add("countUnit goes only with countType \"sinceImagePushed\"")
		}
	case SinceImagePushed:
		if s.CountUnit != "days" {
			c.add("countType \"sinceImagePushed\" needs countUnit \"days\", not %q", s.CountUnit)
		}
	default:
		c.add("selection.countType is %q, expected \"imageCountMoreThan\" or \"sinceImagePushed\"", s.CountType)
	}
	if s.CountNumber == nil || *s.CountNumber < 1 || *s.CountNumber > maxCount {
		c.add("selection.countNumber must be a whole number from 1 to %d", maxCount)
		return
	}
	out.CountNumber = *s.CountNumber
}

// together checks what concerns rules among each other; rules are sorted by priority.
func (c *checker) together(rules []Rule) {
	lists := map[string]int{}
	untagged := 0
	for i, r := range rules {
		if i > 0 && r.Priority > 0 && rules[i-1].Priority == r.Priority {
			c.add("two rules have rulePriority %d", r.Priority)
		}
		switch r.TagStatus {
		case Any:
			if i < len(rules)-1 {
				c.add("the rule with tagStatus \"any\" must be the only one and have the highest rulePriority, but %d comes after %d", rules[i+1].Priority, r.Priority)
			}
		case Untagged:
			if untagged++; untagged == 2 {
				c.add("only one rule may select tagStatus \"untagged\"")
			}
		case Tagged:
			key := listKey("prefix", r.TagPrefixes) + listKey("pattern", r.TagPatterns)
			if other, ok := lists[key]; ok {
				c.add("the rules with priorities %d and %d select the same tags", other, r.Priority)
			}
			lists[key] = r.Priority
		}
	}
}

func listKey(kind string, list []string) string {
	return kind + "\x00" + strings.Join(slices.Compact(slices.Sorted(slices.Values(list))), "\x00") + "\x01"
}
