package shape

import (
	"regexp"
	"sync"
)

// Pattern is a string constraint. Service models write patterns for engines with look-ahead; the generator splits
// them into a part that must match and a part that must not.
type Pattern struct {
	Text string // the model's pattern, shown in messages
	Expr string // must match somewhere in the value
	Not  string // if set, must match nowhere in the value

	once sync.Once
	expr *regexp.Regexp
	not  *regexp.Regexp
}

// Matches reports whether the value satisfies the pattern. The expressions are compiled at first use: most of a
// service's patterns are never needed, and some are large. The generator has checked that they compile.
func (p *Pattern) Matches(value string) bool {
	p.once.Do(func() {
		p.expr = regexp.MustCompile(p.Expr)
		if p.Not != "" {
			p.not = regexp.MustCompile(p.Not)
		}
	})
	return p.expr.MatchString(value) && (p.not == nil || !p.not.MatchString(value))
}
