package logs

import (
	"bytes"
	"strings"
)

// fieldMatcher matches messages split into fields at blanks; text in brackets or double quotes is one field.
type fieldMatcher struct {
	// front are the conditions on the first fields; with ellipsis, back are those on the last.
	front, back []fieldCondition
	ellipsis    bool
}

// fieldCondition is a condition on one field; nil = any value.
type fieldCondition interface {
	holds(field string) bool
	need(n *needs)
}

// maxFields bounds the fields that a message is split into.
const maxFields = 10_000

func (m *fieldMatcher) match(message []byte) bool {
	limit := maxFields
	if !m.ellipsis {
		limit = len(m.front) + 1
	}
	fields := splitFields(message, limit)
	if len(fields) < len(m.front)+len(m.back) || !m.ellipsis && len(fields) > len(m.front) {
		return false
	}
	for i, c := range m.front {
		if c != nil && !c.holds(string(fields[i])) {
			return false
		}
	}
	for i, c := range m.back {
		if c != nil && !c.holds(string(fields[len(fields)-len(m.back)+i])) {
			return false
		}
	}
	return true
}

// splitFields returns at most limit fields.
func splitFields(message []byte, limit int) [][]byte {
	var fields [][]byte
	for len(fields) < limit {
		message = bytes.TrimLeft(message, " \t\r\n")
		if len(message) == 0 {
			break
		}
		closing := byte(0)
		switch message[0] {
		case '"':
			closing = '"'
		case '[':
			closing = ']'
		}
		if closing != 0 {
			if end := bytes.IndexByte(message[1:], closing); end >= 0 {
				fields = append(fields, message[1:1+end])
				message = message[end+2:]
				continue
			}
		}
		end := bytes.IndexAny(message, " \t\r\n")
		if end < 0 {
			end = len(message)
		}
		fields = append(fields, message[:end])
		message = message[end:]
	}
	return fields
}

type fieldBoth struct{ a, b fieldCondition }

func (c fieldBoth) holds(s string) bool { return c.a.holds(s) && c.b.holds(s) }
func (c fieldBoth) need(n *needs)       { c.a.need(n); c.b.need(n) }

type fieldEither struct{ a, b fieldCondition }

func (c fieldEither) holds(s string) bool { return c.a.holds(s) || c.b.holds(s) }
func (c fieldEither) need(*needs)         {}

type fieldComparison struct {
	op    string
	value literal
}

func (c fieldComparison) holds(s string) bool {
	if c.value.isNumber {
		if f, ok := parseNumber(s); ok {
			return compareNumbers(f, s, c.op, c.value.number, c.value.text)
		}
	}
	var equal bool
	switch {
	case c.op != "=" && c.op != "!=":
		return false
	case c.value.re != nil:
		equal = c.value.re.MatchString(s)
	default:
		equal = c.value.glob.match(s)
	}
	return equal == (c.op == "=")
}

func (c fieldComparison) need(n *needs) {
	switch {
	case c.op != "=" || c.value.isNumber:
	case c.value.re != nil:
		n.needInside(regexLiteral(c.value.re))
	default:
		// A field may begin right behind a closing bracket or quotation mark: never inside a word.
		c.value.glob.need(n)
	}
}

func (p *Pattern) parseFields(l *lexer) error {
	l.at++ // [
	m := &fieldMatcher{}
	for {
		l.blanks()
		start := l.at
		if l.accept("...") {
			if m.ellipsis {
				return l.fail(start, "a second ellipsis (...)")
			}
			m.ellipsis = true
		} else {
			c, err := l.field()
			if err != nil {
				return err
			}
			if m.ellipsis {
				m.back = append(m.back, c)
			} else {
				m.front = append(m.front, c)
			}
			if c != nil {
				c.need(&p.verbatim)
			}
		}
		l.blanks()
		if l.accept("]") {
			break
		}
		if !l.accept(",") {
			return l.fail(l.at, "expected , or ] after a field, found %s", l.here())
		}
	}
	if l.blanks(); !l.end() {
		return l.fail(l.at, "nothing may follow the closing bracket; %s stands", l.here())
	}
	p.matcher = m
	return nil
}

// field reads a field's name and its conditions.
func (l *lexer) field() (fieldCondition, error) {
	name := ""
	return l.fieldOr(&name)
}

func (l *lexer) fieldOr(name *string) (fieldCondition, error) {
	start := l.at
	c, err := l.fieldAnd(name)
	for err == nil && l.accept("||") {
		var next fieldCondition
		if next, err = l.fieldAnd(name); err == nil {
			if c == nil || next == nil {
				return nil, l.fail(start, "|| joins conditions, but there is only a name")
			}
			c = fieldEither{c, next}
		}
	}
	return c, err
}

func (l *lexer) fieldAnd(name *string) (fieldCondition, error) {
	start := l.at
	c, err := l.fieldPrimary(name)
	for err == nil && l.accept("&&") {
		var next fieldCondition
		if next, err = l.fieldPrimary(name); err == nil {
			if c == nil || next == nil {
				return nil, l.fail(start, "&& joins conditions, but there is only a name")
			}
			c = fieldBoth{c, next}
		}
	}
	return c, err
}

func (l *lexer) fieldPrimary(name *string) (fieldCondition, error) {
	l.blanks()
	defer l.blanks()
	if !l.accept("(") {
		return l.fieldCondition(name)
	}
	if err := l.enter(); err != nil {
		return nil, err
	}
	c, err := l.fieldOr(name)
	if err != nil {
		return nil, err
	}
	if !l.accept(")") {
		return nil, l.fail(l.at, "expected ), found %s", l.here())
	}
	l.depth--
	return c, nil
}

func (l *lexer) fieldCondition(name *string) (fieldCondition, error) {
	start := l.at
	for !l.end() && !isBlank(l.text[l.at]) && strings.IndexByte(`,[]()=!<>&|"%`, l.text[l.at]) < 0 {
		l.at++
	}
	got := l.text[start:l.at]
	if got == "" {
		return nil, l.fail(start, "a field name is missing before %s", l.here())
	}
	if *name != "" && got != *name {
		return nil, l.fail(start, "a condition of the field %q names another field, %q,", *name, got)
	}
	*name = got
	l.blanks()
	op := l.operator()
	if op == "" {
		return nil, nil
	}
	value, err := l.literal(op, ",])&|")
	if err != nil {
		return nil, err
	}
	return fieldComparison{op: op, value: value}, nil
}
