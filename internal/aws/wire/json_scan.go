package wire

import (
	"errors"
	"fmt"
	"unicode/utf16"
	"unicode/utf8"
)

// maxDepth is the deepest nesting of an input, in every protocol.
const maxDepth = 64

var errDepth = fmt.Errorf("the input is nested deeper than %d levels", maxDepth)

// scanner reads JSON text (RFC 8259) token by token. It refuses what is not valid UTF-8.
type scanner struct {
	data []byte
	pos  int
}

func (s *scanner) fail(what string) error {
	return fmt.Errorf("%s at byte %d", what, s.pos)
}

// peek skips blanks and returns the next byte without taking it; 0 at the end of the text.
func (s *scanner) peek() byte {
	for s.pos < len(s.data) {
		switch c := s.data[s.pos]; c {
		case ' ', '\t', '\r', '\n':
			s.pos++
		default:
			return c
		}
	}
	return 0
}

// take skips blanks and takes one expected byte.
func (s *scanner) take(c byte) error {
	if s.peek() != c || s.pos >= len(s.data) {
		return s.fail(fmt.Sprintf("expected %q", c))
	}
	s.pos++
	return nil
}

// literal takes true, false or null.
func (s *scanner) literal(word string) error {
	if len(s.data)-s.pos < len(word) || string(s.data[s.pos:s.pos+len(word)]) != word {
		return s.fail("unknown literal")
	}
	s.pos += len(word)
	return nil
}

// each walks the members of an object: f gets every name and must take the value.
func (s *scanner) each(f func(name []byte) error) error {
	if err := s.take('{'); err != nil {
		return err
	}
	if s.peek() == '}' {
		s.pos++
		return nil
	}
	for {
		if s.peek() != '"' {
			return s.fail("expected a member name")
		}
		name, err := s.str()
		if err != nil {
			return err
		}
		if err := s.take(':'); err != nil {
			return err
		}
		if err := f(name); err != nil {
			return err
		}
		if s.peek() == ',' {
			s.pos++
			continue
		}
		return s.take('}')
	}
}

// elements walks an array: f must take each element.
func (s *scanner) elements(f func(i int) error) error {
	if err := s.take('['); err != nil {
		return err
	}
	if s.peek() == ']' {
		s.pos++
		return nil
	}
	for i := 0; ; i++ {
		if err := f(i); err != nil {
			return err
		}
		if s.peek() == ',' {
			s.pos++
			continue
		}
		return s.take(']')
	}
}

// skip takes any value.
func (s *scanner) skip(depth int) error {
	if depth > maxDepth {
		return errDepth
	}
	switch c := s.peek(); {
	case c == '{':
		return s.each(func([]byte) error { return s.skip(depth + 1) })
	case c == '[':
		return s.elements(func(int) error { return s.skip(depth + 1) })
	case c == '"':
		_, err := s.str()
		return err
	case c == 't':
		return s.literal("true")
	case c == 'f':
		return s.literal("false")
	case c == 'n':
		return s.literal("null")
	}
	_, err := s.number()
	return err
}

// number takes a number and returns its text.
func (s *scanner) number() (string, error) {
	s.peek()
	start := s.pos
	digits := func() bool {
		from := s.pos
		for s.pos < len(s.data) && s.data[s.pos] >= '0' && s.data[s.pos] <= '9' {
			s.pos++
		}
		return s.pos > from
	}
	next := func(any string) bool {
		for i := range len(any) {
			if s.pos < len(s.data) && s.data[s.pos] == any[i] {
				s.pos++
				return true
			}
		}
		return false
	}
	next("-")
	if !next("0") && !digits() {
		return "", s.fail("expected a value")
	}
	if next(".") && !digits() {
		return "", s.fail("expected a digit")
	}
	if next("eE") {
		next("+-")
		if !digits() {
			return "", s.fail("expected a digit")
		}
	}
	return string(s.data[start:s.pos]), nil
}

// str takes a string and returns its content; without escapes that is a part of the text itself.
func (s *scanner) str() ([]byte, error) {
	s.pos++ // the opening quote
	start := s.pos
	for s.pos < len(s.data) {
		switch c := s.data[s.pos]; {
		case c == '"':
			content := s.data[start:s.pos]
			s.pos++
			if !utf8.Valid(content) {
				return nil, errors.New("the text is not valid UTF-8")
			}
			return content, nil
		case c == '\\':
			return s.escaped(append([]byte(nil), s.data[start:s.pos]...))
		case c < ' ':
			return nil, s.fail("control character in a string")
		}
		s.pos++
	}
	return nil, s.fail("unterminated string")
}

// escaped takes the rest of a string that has escapes.
func (s *scanner) escaped(out []byte) ([]byte, error) {
	for s.pos < len(s.data) {
		c := s.data[s.pos]
		s.pos++
		switch {
		case c == '"':
			if !utf8.Valid(out) {
				return nil, errors.New("the text is not valid UTF-8")
			}
			return out, nil
		case c < ' ':
			return nil, s.fail("control character in a string")
		case c != '\\':
			out = append(out, c)
		default:
			r, err := s.escape()
			if err != nil {
				return nil, err
			}
			out = utf8.AppendRune(out, r)
		}
	}
	return nil, s.fail("unterminated string")
}

// escape takes what follows a backslash.
func (s *scanner) escape() (rune, error) {
	if s.pos >= len(s.data) {
		return 0, s.fail("unterminated string")
	}
	c := s.data[s.pos]
	s.pos++
	switch c {
	case '"', '\\', '/':
		return rune(c), nil
	case 'b':
		return '\b', nil
	case 'f':
		return '\f', nil
	case 'n':
		return '\n', nil
	case 'r':
		return '\r', nil
	case 't':
		return '\t', nil
	case 'u':
		return s.unicode()
	}
	return 0, s.fail("unknown escape in a string")
}

// unicode takes the digits of a \u escape, and the second half of a surrogate pair.
func (s *scanner) unicode() (rune, error) {
	r, err := s.hex4()
	if err != nil || !utf16.IsSurrogate(r) {
		return r, err
	}
	if s.pos+1 < len(s.data) && s.data[s.pos] == '\\' && s.data[s.pos+1] == 'u' {
		s.pos += 2
		low, err := s.hex4()
		if err != nil {
			return 0, err
		}
		if pair := utf16.DecodeRune(r, low); pair != utf8.RuneError {
			return pair, nil
		}
	}
	return 0, s.fail("half a surrogate pair in a string")
}

func (s *scanner) hex4() (rune, error) {
	if len(s.data)-s.pos < 4 {
		return 0, s.fail("unterminated escape in a string")
	}
	var r rune
	for _, c := range s.data[s.pos : s.pos+4] {
		switch {
		case c >= '0' && c <= '9':
			r = r<<4 | rune(c-'0')
		case c >= 'a' && c <= 'f':
			r = r<<4 | rune(c-'a'+10)
		case c >= 'A' && c <= 'F':
			r = r<<4 | rune(c-'A'+10)
		default:
			return 0, s.fail("unknown escape in a string")
		}
	}
	s.pos += 4
	return r, nil
}
