package logs

import (
	"fmt"
	"regexp"
	"regexp/syntax"
	"strings"
	"unicode/utf8"
)

// lexer walks a pattern.
type lexer struct {
	text    string
	at      int
	regexes int
	depth   int
}

const maxNesting = 32

func (l *lexer) end() bool { return l.at >= len(l.text) }

// peek returns the current byte, 0 at the end.
func (l *lexer) peek() byte {
	if l.end() {
		return 0
	}
	return l.text[l.at]
}

func (l *lexer) blanks() {
	for !l.end() && isBlank(l.text[l.at]) {
		l.at++
	}
}

func isBlank(c byte) bool { return c == ' ' || c == '\t' || c == '\n' || c == '\r' }

// accept skips s if it stands here.
func (l *lexer) accept(s string) bool {
	if strings.HasPrefix(l.text[l.at:], s) {
		l.at += len(s)
		return true
	}
	return false
}

// keyword skips the word s, in any case, if it stands here as a whole.
func (l *lexer) keyword(s string) bool {
	rest := l.text[l.at:]
	if len(rest) < len(s) || !strings.EqualFold(rest[:len(s)], s) || len(rest) > len(s) && isWord[rest[len(s)]] {
		return false
	}
	l.at += len(s)
	return true
}

// fail makes the error for the place at.
func (l *lexer) fail(at int, format string, args ...any) error {
	return invalid("filterPattern", "Invalid filter pattern: %s at position %d.", fmt.Sprintf(format, args...), at+1)
}

// here names what stands at the current place.
func (l *lexer) here() string {
	if l.end() {
		return "the end"
	}
	r, _ := utf8.DecodeRuneInString(l.text[l.at:])
	return fmt.Sprintf("%q", r)
}

// enter counts a parenthesis.
func (l *lexer) enter() error {
	if l.depth++; l.depth > maxNesting {
		return l.fail(l.at, "more than %d nested parentheses", maxNesting)
	}
	return nil
}

// quoted reads a string in double quotes; backslash escapes a quote or a backslash.
func (l *lexer) quoted() (string, error) {
	quote, start := l.text[l.at], l.at
	var b strings.Builder
	for l.at++; !l.end(); l.at++ {
		c := l.text[l.at]
		switch {
		case c == quote:
			l.at++
			return b.String(), nil
		case c == '\\' && l.at+1 < len(l.text) && (l.text[l.at+1] == quote || l.text[l.at+1] == '\\'):
			l.at++
			b.WriteByte(l.text[l.at])
		default:
			b.WriteByte(c)
		}
	}
	return "", l.fail(start, "the quotation mark is never closed, opened")
}

// regexSymbols are the characters beside letters and digits that CloudWatch Logs takes in a regular expression.
const regexSymbols = `_#=@/;,-:^$?[]{}|\*+. '"<>&~` + "\t"

// regex reads %expression%.
func (l *lexer) regex() (*regexp.Regexp, error) {
	start := l.at
	var b strings.Builder
	for l.at++; !l.end() && l.text[l.at] != '%'; l.at++ {
		c := l.text[l.at]
		if c == '\\' && l.at+1 < len(l.text) && l.text[l.at+1] < 0x80 {
			if l.text[l.at+1] != '%' {
				b.WriteByte(c)
			}
			l.at++
			b.WriteByte(l.text[l.at])
			continue
		}
		if c >= 0x80 || c != '_' && !isWord[c] && strings.IndexByte(regexSymbols, c) < 0 {
			r, _ := utf8.DecodeRuneInString(l.text[l.at:])
			return nil, l.fail(l.at, "the character %q is not supported in a regular expression", r)
		}
		b.WriteByte(c)
	}
	if l.end() {
		return nil, l.fail(start, "the regular expression is never closed with %%, opened")
	}
	l.at++
	if b.Len() == 0 {
		return nil, l.fail(start, "the regular expression is empty")
	}
	if l.regexes++; l.regexes > maxRegexes {
		return nil, l.fail(start, "more than %d regular expressions", maxRegexes)
	}
	return l.compile(start, b.String())
}

// maxRegexProgram bounds the instructions of a compiled regular expression; the time to match is the
// product of these and the message's length.
const maxRegexProgram = 512

func (l *lexer) compile(start int, expr string) (*regexp.Regexp, error) {
	parsed, err := syntax.Parse(expr, syntax.Perl)
	if err != nil {
		return nil, l.fail(start, "the regular expression %q is not valid", expr)
	}
	program, err := syntax.Compile(parsed.Simplify())
	if err != nil {
		return nil, l.fail(start, "the regular expression %q is not valid", expr)
	}
	if len(program.Inst) > maxRegexProgram {
		return nil, l.fail(start, "the regular expression is too large (lower its repetition counts)")
	}
	re, err := regexp.Compile(expr)
	if err != nil {
		return nil, l.fail(start, "the regular expression %q is not valid", expr)
	}
	return re, nil
}

// term reads an unstructured term.
func (l *lexer) term() (term, error) {
	start := l.at
	switch l.peek() {
	case '"':
		text, err := l.quoted()
		if err != nil {
			return term{}, err
		}
		if text == "" {
			return term{}, l.fail(start, "the phrase is empty")
		}
		return term{text: []byte(text)}, l.termEnd()
	case '%':
		re, err := l.regex()
		if err != nil {
			return term{}, err
		}
		return term{re: re}, l.termEnd()
	}
	for !l.end() && !isBlank(l.text[l.at]) {
		r, n := utf8.DecodeRuneInString(l.text[l.at:])
		if !isTermRune(r) {
			word, _, _ := strings.Cut(l.text[start:], " ")
			return term{}, l.fail(l.at, "Invalid character(s) in term '%s' (put it in double quotation marks); %q stands", word, r)
		}
		l.at += n
	}
	if l.at == start {
		return term{}, l.fail(start, "a term is missing")
	}
	return term{text: []byte(l.text[start:l.at])}, nil
}

func (l *lexer) termEnd() error {
	if !l.end() && !isBlank(l.peek()) {
		return l.fail(l.at, "a blank is missing before %s", l.here())
	}
	return nil
}

// operator reads a comparison operator, "" if there is none.
func (l *lexer) operator() string {
	for _, op := range []string{"!=", "<=", ">=", "=", "<", ">"} {
		if l.accept(op) {
			return op
		}
	}
	return ""
}

// literal reads the right side of a condition; an unquoted one ends at a blank or one of stops.
func (l *lexer) literal(op, stops string) (literal, error) {
	l.blanks()
	start := l.at
	var v literal
	switch l.peek() {
	case '"':
		text, err := l.quoted()
		if err != nil {
			return v, err
		}
		v = newLiteral(text, true)
	case '%':
		re, err := l.regex()
		if err != nil {
			return v, err
		}
		v = literal{re: re}
	default:
		for !l.end() && !isBlank(l.text[l.at]) && strings.IndexByte(stops, l.text[l.at]) < 0 {
			l.at++
		}
		if l.at == start {
			return v, l.fail(start, "a value is missing before %s", l.here())
		}
		v = newLiteral(l.text[start:l.at], false)
	}
	if op != "=" && op != "!=" && !v.isNumber {
		return v, l.fail(start, "the operator %s needs a number, which is not what stands", op)
	}
	return v, nil
}
