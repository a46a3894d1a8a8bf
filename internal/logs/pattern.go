package logs

import (
	"bytes"
	"regexp"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Pattern is a compiled filter pattern in CloudWatch Logs' syntax: unstructured terms, JSON
// conditions in braces, or space-delimited fields in brackets. It is immutable.
//
// Terms and phrases match anywhere in a message, also inside words, and are case-sensitive.
type Pattern struct {
	text    string
	matcher matcher
	// verbatim and json say what every matching message holds; json counts only for text without a backslash.
	verbatim, json needs
}

// matcher decides on one message.
type matcher interface {
	match(message []byte) bool
}

// needs is a necessary condition: all texts, one of the texts in any (if there are some), all words.
type needs struct {
	all, any []string
	words    []uint64
}

// maxRegexes bounds the regular expressions of one pattern (CloudWatch Logs' quota).
const maxRegexes = 2

// ParsePattern compiles a pattern; "" and blanks match everything. An error is of KindInvalidRequest,
// code InvalidParameterException, and names the position (from 1) of what is wrong.
func ParsePattern(text string) (*Pattern, error) {
	if len(text) > MaxPatternBytes {
		return nil, invalid("filterPattern", "Invalid filter pattern: it has %d bytes; at most %d are allowed.", len(text), MaxPatternBytes)
	}
	if !utf8.ValidString(text) {
		return nil, invalid("filterPattern", "Invalid filter pattern: it is not valid UTF-8.")
	}
	p := &Pattern{text: text}
	l := &lexer{text: text}
	l.blanks()
	var err error
	switch {
	case l.end():
		p.matcher = everything{}
	case l.peek() == '{':
		err = p.parseJSON(l)
	case l.peek() == '[':
		err = p.parseFields(l)
	default:
		err = p.parseTerms(l)
	}
	if err != nil {
		return nil, err
	}
	return p, nil
}

// String returns the pattern's text.
func (p *Pattern) String() string { return p.text }

// Match reports whether a message matches.
func (p *Pattern) Match(message string) bool { return p.MatchBytes([]byte(message)) }

// MatchBytes is Match for bytes, which it does not keep.
func (p *Pattern) MatchBytes(message []byte) bool {
	return p.mayMatch(message) && p.matcher.match(message)
}

// mayMatch is false only if no part of raw, which may hold many messages, can match.
func (p *Pattern) mayMatch(raw []byte) bool {
	if !p.verbatim.in(raw) {
		return false
	}
	if len(p.json.all) == 0 || p.json.in(raw) {
		return true
	}
	return bytes.IndexByte(raw, '\\') >= 0
}

func (n *needs) in(raw []byte) bool {
	for _, text := range n.all {
		if !bytes.Contains(raw, []byte(text)) {
			return false
		}
	}
	for _, text := range n.any {
		if bytes.Contains(raw, []byte(text)) {
			return true
		}
	}
	return len(n.any) == 0
}

// hasWords reports whether mayHold can be false.
func (p *Pattern) hasWords(backslash bool) bool {
	return len(p.verbatim.words) > 0 || !backslash && len(p.json.words) > 0
}

// mayHold is false only if no message of the block with this bloom filter can match.
func (p *Pattern) mayHold(filter []byte, backslash bool) bool {
	for _, w := range p.verbatim.words {
		if !bloomHas(filter, w) {
			return false
		}
	}
	if !backslash {
		for _, w := range p.json.words {
			if !bloomHas(filter, w) {
				return false
			}
		}
	}
	return true
}

// needInside adds a text that stands somewhere in the message. Of its words only those in the middle
// are known to be whole.
func (n *needs) needInside(text string) {
	if text == "" || strings.ContainsRune(text, utf8.RuneError) { // decoders put U+FFFD where there was none
		return
	}
	n.all = append(n.all, text)
	start := strings.IndexFunc(text, func(r rune) bool { return r < 0x80 && !isWord[byte(r)] })
	end := strings.LastIndexFunc(text, func(r rune) bool { return r < 0x80 && !isWord[byte(r)] })
	if start < end {
		n.addWords(text[start:end])
	}
}

// needWhole adds a text that stands in the message between bytes that make no words.
func (n *needs) needWhole(text string) {
	if text == "" || strings.ContainsRune(text, utf8.RuneError) {
		return
	}
	n.all = append(n.all, text)
	n.addWords(text)
}

func (n *needs) addWords(text string) {
	for i := 0; i < len(text); i++ {
		if !isWord[text[i]] {
			continue
		}
		start := i
		for i < len(text) && isWord[text[i]] {
			i++
		}
		n.words = append(n.words, hashWord(text[start:i]))
	}
}

type everything struct{}

func (everything) match([]byte) bool { return true }

// term is an unstructured term: a text or a regular expression.
type term struct {
	text []byte
	re   *regexp.Regexp
}

func (t term) match(message []byte) bool {
	if t.re != nil {
		return t.re.Match(message)
	}
	return bytes.Contains(message, t.text)
}

// terms matches when all required terms, one of the optional (if there are some) and none of the excluded match.
type terms struct {
	required, optional, excluded []term
}

func (t *terms) match(message []byte) bool {
	for _, x := range t.required {
		if !x.match(message) {
			return false
		}
	}
	for _, x := range t.excluded {
		if x.match(message) {
			return false
		}
	}
	for _, x := range t.optional {
		if x.match(message) {
			return true
		}
	}
	return len(t.optional) == 0
}

func (p *Pattern) parseTerms(l *lexer) error {
	t := &terms{}
	for l.blanks(); !l.end(); l.blanks() {
		list := &t.required
		switch l.peek() {
		case '?':
			list = &t.optional
			l.at++
		case '-':
			list = &t.excluded
			l.at++
		}
		x, err := l.term()
		if err != nil {
			return err
		}
		*list = append(*list, x)
	}
	for _, x := range t.required {
		p.verbatim.needInside(x.literal())
	}
	for _, x := range t.optional {
		if lit := x.literal(); lit != "" {
			p.verbatim.any = append(p.verbatim.any, lit)
		} else {
			p.verbatim.any = nil
			break
		}
	}
	p.matcher = t
	return nil
}

// literal returns a text that every match holds, "" = unknown.
func (t term) literal() string {
	if t.re != nil {
		return regexLiteral(t.re)
	}
	return string(t.text)
}

func regexLiteral(re *regexp.Regexp) string {
	prefix, _ := re.LiteralPrefix()
	return prefix
}

// glob is a text with wildcards: the pieces between them.
type glob []string

func newGlob(text string) glob { return strings.Split(text, "*") }

func (g glob) match(s string) bool {
	if len(g) == 1 {
		return s == g[0]
	}
	first, last := g[0], g[len(g)-1]
	if len(s) < len(first)+len(last) || !strings.HasPrefix(s, first) || !strings.HasSuffix(s, last) {
		return false
	}
	s = s[len(first) : len(s)-len(last)]
	for _, piece := range g[1 : len(g)-1] {
		i := strings.Index(s, piece)
		if i < 0 {
			return false
		}
		s = s[i+len(piece):]
	}
	return true
}

// need adds what the glob says about a text that stands between bytes that make no words.
func (g glob) need(n *needs) {
	if len(g) == 1 {
		n.needWhole(g[0])
		return
	}
	for _, piece := range g {
		n.needInside(piece)
	}
}

// literal is the right side of a condition.
type literal struct {
	glob     glob
	re       *regexp.Regexp
	number   float64
	isNumber bool
	quoted   bool
	text     string
}

func newLiteral(text string, quoted bool) literal {
	v := literal{text: text, quoted: quoted, glob: newGlob(text)}
	if !quoted {
		v.number, v.isNumber = parseNumber(text)
	}
	return v
}

// parseNumber takes what JSON and scientific notation write, and no infinities, hex or underscores.
func parseNumber(s string) (float64, bool) {
	if s == "" || len(s) > 64 || strings.Trim(s, "+-.0123456789eE") != "" || !strings.ContainsAny(s, "0123456789") {
		return 0, false
	}
	f, err := strconv.ParseFloat(s, 64)
	return f, err == nil
}

// compareNumbers reports whether a op b holds; texts decide equality of integers too long for a float.
func compareNumbers(a float64, aText, op string, b float64, bText string) bool {
	const exact = 15
	equal := a == b
	if equal && len(aText) > exact && len(bText) > exact && isInteger(aText) && isInteger(bText) {
		equal = aText == bText
	}
	switch op {
	case "=":
		return equal
	case "!=":
		return !equal
	case "<":
		return a < b
	case "<=":
		return a <= b
	case ">":
		return a > b
	}
	return a >= b
}

func isInteger(s string) bool { return strings.Trim(strings.TrimPrefix(s, "-"), "0123456789") == "" }

// isTermRune says which characters a term may hold without quotes.
func isTermRune(r rune) bool { return r == '_' || unicode.IsLetter(r) || unicode.IsDigit(r) }
