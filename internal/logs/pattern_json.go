package logs

import (
	"bytes"
	"encoding/json"
	"io"
	"strconv"
	"strings"
)

// jsonMatcher matches messages that are one JSON value.
type jsonMatcher struct {
	root condition
}

// condition is a node of a JSON pattern.
type condition interface {
	holds(message any) bool
	// need adds what every JSON text for which the condition holds has in it.
	need(n *needs)
}

func (m jsonMatcher) match(message []byte) bool {
	trimmed := bytes.TrimLeft(message, " \t\r\n")
	if len(trimmed) == 0 || trimmed[0] != '{' && trimmed[0] != '[' {
		return false
	}
	d := json.NewDecoder(bytes.NewReader(trimmed))
	d.UseNumber()
	var v any
	if d.Decode(&v) != nil {
		return false
	}
	if _, err := d.Token(); err != io.EOF {
		return false
	}
	return m.root.holds(v)
}

type both struct{ a, b condition }

func (c both) holds(v any) bool { return c.a.holds(v) && c.b.holds(v) }
func (c both) need(n *needs)    { c.a.need(n); c.b.need(n) }

type either struct{ a, b condition }

func (c either) holds(v any) bool { return c.a.holds(v) || c.b.holds(v) }
func (c either) need(*needs)      {}

// step is one part of a selector: a property, an element, or every element.
type step struct {
	property string
	index    int
	kind     stepKind
}

type stepKind int

const (
	stepProperty stepKind = iota
	stepIndex
	stepEvery
)

// find calls f for each value that the selector names, until f returns true.
func find(v any, path []step, f func(any) bool) bool {
	if len(path) == 0 {
		return f(v)
	}
	s := path[0]
	if s.kind == stepProperty {
		object, _ := v.(map[string]any)
		inner, ok := object[s.property]
		return ok && find(inner, path[1:], f)
	}
	array, _ := v.([]any)
	if s.kind == stepIndex {
		return s.index < len(array) && find(array[s.index], path[1:], f)
	}
	for _, inner := range array {
		if find(inner, path[1:], f) {
			return true
		}
	}
	return false
}

func needPath(path []step, n *needs) {
	for _, s := range path {
		if s.kind == stepProperty {
			n.needWhole(s.property)
		}
	}
}

// comparison holds if a value that the selector names compares; a missing property never does.
type comparison struct {
	path  []step
	op    string
	value literal
}

func (c comparison) holds(v any) bool { return find(v, c.path, c.compare) }

func (c comparison) compare(v any) bool {
	switch v := v.(type) {
	case json.Number:
		return c.compareNumber(v.String())
	case string:
		if c.op != "=" && c.op != "!=" {
			return false
		}
		return c.equalText(v) == (c.op == "=")
	case bool:
		if c.value.quoted || c.op != "=" && c.op != "!=" {
			return false
		}
		return c.equalText(strconv.FormatBool(v)) == (c.op == "=")
	}
	return false // null, objects and arrays compare with nothing
}

func (c comparison) compareNumber(text string) bool {
	if c.value.isNumber {
		f, err := strconv.ParseFloat(text, 64)
		return err == nil && compareNumbers(f, text, c.op, c.value.number, c.value.text)
	}
	if c.op != "=" && c.op != "!=" {
		return false
	}
	return c.equalText(text) == (c.op == "=")
}

func (c comparison) equalText(s string) bool {
	if c.value.re != nil {
		return c.value.re.MatchString(s)
	}
	return c.value.glob.match(s)
}

func (c comparison) need(n *needs) {
	needPath(c.path, n)
	switch {
	case c.op != "=" || c.value.isNumber: // a number has many spellings
	case c.value.re != nil:
		n.needInside(regexLiteral(c.value.re))
	default:
		c.value.glob.need(n)
	}
}

// state is IS NULL, IS TRUE, IS FALSE, EXISTS or NOT EXISTS.
type state struct {
	path []step
	want any // nil, true, false
	kind stateKind
}

type stateKind int

const (
	stateIs stateKind = iota
	stateExists
	stateMissing
)

func (c state) holds(v any) bool {
	switch c.kind {
	case stateExists:
		return find(v, c.path, func(any) bool { return true })
	case stateMissing:
		return !find(v, c.path, func(any) bool { return true })
	}
	return find(v, c.path, func(x any) bool {
		switch x.(type) {
		case nil, bool:
			return x == c.want
		}
		return false
	})
}

func (c state) need(n *needs) {
	if c.kind != stateMissing {
		needPath(c.path, n)
	}
}

func (p *Pattern) parseJSON(l *lexer) error {
	l.at++ // {
	root, err := l.jsonOr()
	if err != nil {
		return err
	}
	if !l.accept("}") {
		return l.fail(l.at, "expected && or || or }, found %s", l.here())
	}
	if l.blanks(); !l.end() {
		return l.fail(l.at, "nothing may follow the closing brace; %s stands", l.here())
	}
	p.matcher = jsonMatcher{root: root}
	root.need(&p.json)
	return nil
}

func (l *lexer) jsonOr() (condition, error) {
	c, err := l.jsonAnd()
	for err == nil && l.accept("||") {
		var next condition
		if next, err = l.jsonAnd(); err == nil {
			c = either{c, next}
		}
	}
	return c, err
}

func (l *lexer) jsonAnd() (condition, error) {
	c, err := l.jsonPrimary()
	for err == nil && l.accept("&&") {
		var next condition
		if next, err = l.jsonPrimary(); err == nil {
			c = both{c, next}
		}
	}
	return c, err
}

// jsonPrimary reads a condition or a parenthesis, and the blanks around it.
func (l *lexer) jsonPrimary() (condition, error) {
	l.blanks()
	defer l.blanks()
	if !l.accept("(") {
		return l.jsonCondition()
	}
	if err := l.enter(); err != nil {
		return nil, err
	}
	c, err := l.jsonOr()
	if err != nil {
		return nil, err
	}
	if !l.accept(")") {
		return nil, l.fail(l.at, "expected && or || or ), found %s", l.here())
	}
	l.depth--
	return c, nil
}

func (l *lexer) jsonCondition() (condition, error) {
	path, err := l.selector()
	if err != nil {
		return nil, err
	}
	l.blanks()
	if op := l.operator(); op != "" {
		value, err := l.literal(op, ")}&|")
		if err != nil {
			return nil, err
		}
		return comparison{path: path, op: op, value: value}, nil
	}
	switch {
	case l.keyword("EXISTS"):
		return state{path: path, kind: stateExists}, nil
	case l.keyword("NOT"):
		if l.blanks(); l.keyword("EXISTS") {
			return state{path: path, kind: stateMissing}, nil
		}
		return nil, l.fail(l.at, "expected EXISTS after NOT, found %s", l.here())
	case l.keyword("IS"):
		l.blanks()
		switch {
		case l.keyword("NULL"):
			return state{path: path}, nil
		case l.keyword("TRUE"):
			return state{path: path, want: true}, nil
		case l.keyword("FALSE"):
			return state{path: path, want: false}, nil
		}
		return nil, l.fail(l.at, "expected NULL, TRUE or FALSE after IS, found %s", l.here())
	}
	return nil, l.fail(l.at, "expected an operator (=, !=, <, <=, >, >=, IS, EXISTS, NOT EXISTS), found %s", l.here())
}

// selector reads $.a.b[0]["c"][*].
func (l *lexer) selector() ([]step, error) {
	if !l.accept("$") {
		return nil, l.fail(l.at, "expected a selector that begins with $, found %s", l.here())
	}
	var path []step
	for {
		dot := l.accept(".")
		switch {
		case l.accept("["):
			s, err := l.subscript()
			if err != nil {
				return nil, err
			}
			path = append(path, s)
		case dot:
			start := l.at
			for !l.end() && !isBlank(l.text[l.at]) && strings.IndexByte(`.[]()=!<>&|{}"'%`, l.text[l.at]) < 0 {
				l.at++
			}
			if l.at == start {
				return nil, l.fail(l.at, "a property name is missing before %s", l.here())
			}
			path = append(path, step{property: l.text[start:l.at]})
		case len(path) == 0:
			return nil, l.fail(l.at, "expected .property or [index] after $, found %s", l.here())
		default:
			return path, nil
		}
	}
}

// subscript reads the rest of [0], [*] or ["name"].
func (l *lexer) subscript() (step, error) {
	l.blanks()
	start := l.at
	var s step
	switch c := l.peek(); {
	case c == '"' || c == '\'':
		name, err := l.quoted()
		if err != nil {
			return s, err
		}
		s.property = name
	case c == '*':
		l.at++
		s.kind = stepEvery
	default:
		for c := l.peek(); c >= '0' && c <= '9'; c = l.peek() {
			l.at++
		}
		index, err := strconv.Atoi(l.text[start:l.at])
		if err != nil || index > 1<<30 {
			return s, l.fail(start, `expected an index, * or "property" in brackets, found %s`, l.here())
		}
		s.kind, s.index = stepIndex, index
	}
	if l.blanks(); !l.accept("]") {
		return s, l.fail(l.at, "expected ], found %s", l.here())
	}
	return s, nil
}
