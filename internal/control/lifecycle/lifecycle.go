// Package lifecycle reads ECR lifecycle policies and decides which images they expire. It is pure: time is an
// argument. The rules are those of the ECR user guide, "Lifecycle policy properties" and "How lifecycle policies work".
package lifecycle

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/funade/funade/internal/app"
)

// TagStatus says which images a rule selects.
type TagStatus string

// The tag states.
const (
	Tagged   TagStatus = "tagged"
	Untagged TagStatus = "untagged"
	Any      TagStatus = "any"
)

// CountType says how a rule counts.
type CountType string

// The count types.
const (
	// ImageCountMoreThan expires all but the youngest CountNumber images.
	ImageCountMoreThan CountType = "imageCountMoreThan"
	// SinceImagePushed expires images pushed more than CountNumber days ago.
	SinceImagePushed CountType = "sinceImagePushed"
)

// Rule is one rule of a policy; its action is always expire.
type Rule struct {
	Priority    int
	Description string
	TagStatus   TagStatus
	// TagPrefixes or TagPatterns narrow Tagged: every entry must match one of the image's tags. Patterns know only *.
	TagPrefixes []string
	TagPatterns []string
	CountType   CountType
	// CountNumber is a number of images or of days, at least 1.
	CountNumber int
}

// Policy is a valid policy, its rules sorted by priority.
type Policy struct{ Rules []Rule }

// Expired returns the digests of the images that the policy expires now, oldest first. Images must be all of one
// repository's. An image that a rule's tags match is never expired by a later rule, but still counts there; one that
// an index of the repository names stays as long as the index; one that refers to a subject goes with its subject.
func Expired(policy Policy, images []app.Manifest, now time.Time) []app.Digest {
	present, referenced := map[app.Digest]bool{}, map[app.Digest]bool{}
	for _, m := range images {
		present[m.Digest] = true
		for _, child := range m.Manifests {
			referenced[child] = true
		}
	}
	youngestFirst := slices.SortedFunc(slices.Values(images), func(a, b app.Manifest) int {
		return cmp.Or(b.PushedAt.Compare(a.PushedAt), cmp.Compare(a.Digest, b.Digest))
	})
	claimed, expired := map[app.Digest]bool{}, map[app.Digest]bool{}
	for _, rule := range policy.Rules {
		var matched []app.Digest
		for _, m := range youngestFirst {
			if present[m.Subject] || !rule.selects(m.Tags) {
				continue
			}
			if rule.counts(len(matched), m.PushedAt, now) && !claimed[m.Digest] && !referenced[m.Digest] {
				expired[m.Digest] = true
			}
			matched = append(matched, m.Digest)
		}
		for _, d := range matched {
			claimed[d] = true
		}
	}
	for grown := len(expired) > 0; grown; {
		grown = false
		for _, m := range images {
			if expired[m.Subject] && !expired[m.Digest] && !referenced[m.Digest] {
				expired[m.Digest], grown = true, true
			}
		}
	}
	var out []app.Digest
	for _, m := range slices.Backward(youngestFirst) {
		if expired[m.Digest] {
			out = append(out, m.Digest)
		}
	}
	return out
}

// selects reports whether an image with these tags meets the rule's tagging requirements.
func (r Rule) selects(tags []string) bool {
	switch r.TagStatus {
	case Any:
		return true
	case Untagged:
		return len(tags) == 0
	}
	if len(tags) == 0 {
		return false
	}
	for _, prefix := range r.TagPrefixes {
		if !slices.ContainsFunc(tags, func(t string) bool { return strings.HasPrefix(t, prefix) }) {
			return false
		}
	}
	for _, pattern := range r.TagPatterns {
		if !slices.ContainsFunc(tags, func(t string) bool { return matches(pattern, t) }) {
			return false
		}
	}
	return true
}

// counts reports whether the rule's count hits the image that has younger younger ones among those selected.
func (r Rule) counts(younger int, pushedAt, now time.Time) bool {
	if r.CountType == ImageCountMoreThan {
		return younger >= r.CountNumber
	}
	return pushedAt.Before(now.AddDate(0, 0, -r.CountNumber))
}

// matches reports whether the pattern, in which * stands for any text, matches all of tag.
func matches(pattern, tag string) bool {
	parts := strings.Split(pattern, "*")
	if len(parts) == 1 {
		return pattern == tag
	}
	rest, ok := strings.CutPrefix(tag, parts[0])
	if !ok {
		return false
	}
	for _, part := range parts[1 : len(parts)-1] {
		i := strings.Index(rest, part)
		if i < 0 {
			return false
		}
		rest = rest[i+len(part):]
	}
	return strings.HasSuffix(rest, parts[len(parts)-1])
}
