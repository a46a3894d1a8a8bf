package main

import (
	"fmt"
	"regexp"
	"regexp/syntax"
	"strconv"
	"strings"
)

// maxRepeat is the largest repeat count kept in a translated pattern. Go refuses counts above 1000 and expands each
// copy, so a larger upper bound becomes "or more": the shape's own length limit bounds the value.
const maxRepeat = 255

// pattern is a translated pattern; see shape.Pattern.
type pattern struct{ text, expr, not string }

var (
	repeat     = regexp.MustCompile(`\{(\d+),(\d+)\}`)
	javaEscape = regexp.MustCompile(`\\u(10000|10FFFF|[0-9A-Fa-f]{4})`)
)

// translate turns a model's pattern into Go's syntax. whole anchors it at both ends. bounded says that the shape has a
// length limit of its own. A construct that Go lacks and this function does not know is an error.
func translate(text string, whole, bounded bool) (*pattern, error) {
	p := &pattern{text: text}
	expr := javaEscape.ReplaceAllString(text, `\x{$1}`)
	if rest, ok := strings.CutPrefix(expr, "^(?!"); ok {
		end := closing(rest)
		if end < 0 {
			return nil, fmt.Errorf("pattern %q: unbalanced look-ahead", text)
		}
		// At the start of the text the look-ahead is tried at one place only: "not X, and the rest".
		p.not = "^(?:" + rest[:end] + ")"
		expr = "^" + rest[end+1:]
	}
	var err error
	expr = repeat.ReplaceAllStringFunc(expr, func(m string) string {
		n := repeat.FindStringSubmatch(m)
		upper, convErr := strconv.Atoi(n[2])
		if convErr != nil || upper <= maxRepeat {
			return m
		}
		if !bounded {
			err = fmt.Errorf("pattern %q: repeat count %d on a shape without a length limit", text, upper)
		}
		return "{" + n[1] + ",}"
	})
	if err != nil {
		return nil, err
	}
	if whole {
		expr = `^(?:` + expr + `)$`
	}
	p.expr = expr
	for _, e := range []string{p.expr, p.not} {
		if _, err := syntax.Parse(e, syntax.Perl); err != nil {
			return nil, fmt.Errorf("cannot translate pattern %q: %w", text, err)
		}
	}
	return p, nil
}

// closing finds the parenthesis that closes a group whose opening has just been read; -1 if there is none.
func closing(s string) int {
	depth, class := 1, false
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '\\':
			i++
		case class:
			class = c != ']'
		case c == '[':
			class = true
		case c == '(':
			depth++
		case c == ')':
			if depth--; depth == 0 {
				return i
			}
		}
	}
	return -1
}
