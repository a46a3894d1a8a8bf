package wire

import (
	"errors"
	"fmt"
	"reflect"
	"strconv"

	"github.com/funade/funade/internal/aws/shape"
)

// decodeJSON fills a pointer to a generated struct. Unknown members are ignored, null is as good as absent, and of a
// member given twice the last counts. Empty text is an empty structure. Enums given as "" go to the violations.
func decodeJSON(data []byte, s *shape.Schema, into any, found *shape.Violations) error {
	d := jsonDecoder{scanner: scanner{data: data}, found: found}
	if d.peek(); d.pos == len(d.data) {
		return nil
	}
	if err := d.structure(s, reflect.ValueOf(into).Elem(), 0); err != nil {
		return d.trail.wrap(err)
	}
	if d.peek(); d.pos != len(d.data) {
		return d.fail("text after the end of the input")
	}
	return nil
}

type jsonDecoder struct {
	scanner
	trail trail
	found *shape.Violations
}

// want checks that the next value begins like one of that kind.
func (d *jsonDecoder) want(k shape.Kind) error {
	var ok bool
	c := d.peek()
	number := c == '-' || c >= '0' && c <= '9'
	switch k {
	case shape.Structure, shape.Map:
		ok = c == '{'
	case shape.List:
		ok = c == '['
	case shape.String, shape.Blob:
		ok = c == '"'
	case shape.Boolean:
		ok = c == 't' || c == 'f'
	default:
		ok = number
	}
	if ok {
		return nil
	}
	var got string
	switch {
	case c == '{':
		got = "an object"
	case c == '[':
		got = "an array"
	case c == '"':
		got = "a string"
	case c == 't', c == 'f':
		got = "a boolean"
	case c == 'n':
		got = "null"
	case number:
		got = "a number"
	default:
		return d.fail("expected a value")
	}
	return fmt.Errorf("value must be %s, not %s,", kindWords[k], got)
}

func (d *jsonDecoder) structure(s *shape.Schema, v reflect.Value, depth int) error {
	if depth > maxDepth {
		return errDepth
	}
	if err := d.want(shape.Structure); err != nil {
		return err
	}
	return d.each(func(name []byte) error {
		i := s.MemberIndex(name)
		if i < 0 {
			return d.skip(depth + 1)
		}
		m := &s.Members[i]
		field := v.Field(i)
		field.SetZero()
		if d.peek() == 'n' {
			return d.literal("null")
		}
		d.trail.push(step{name: m.Name})
		if err := d.value(m.Schema, settable(field), depth+1); err != nil {
			return err
		}
		d.trail.pop()
		return nil
	})
}

func (d *jsonDecoder) value(s *shape.Schema, v reflect.Value, depth int) error {
	if s.Kind == shape.Structure {
		return d.structure(s, v, depth)
	}
	if err := d.want(s.Kind); err != nil {
		return err
	}
	switch s.Kind {
	case shape.List:
		return d.list(s, v, depth)
	case shape.Map:
		return d.entries(s, v, depth)
	case shape.String, shape.Blob:
		text, err := d.str()
		switch {
		case err != nil:
			return err
		case s.Kind == shape.Blob:
			return setBlob(v, string(text))
		case len(text) == 0 && len(s.Enum) > 0:
			d.found.Add(d.trail.emptyEnum(s))
		}
		v.SetString(string(text))
		return nil
	case shape.Boolean:
		v.SetBool(d.data[d.pos] == 't')
		return d.literal(strconv.FormatBool(d.data[d.pos] == 't'))
	}
	text, err := d.number()
	if err != nil {
		return err
	}
	switch s.Kind {
	case shape.Integer, shape.Long:
		return setInteger(v, s.Kind, text)
	case shape.Timestamp:
		return setEpoch(v, text)
	case shape.Double, shape.Float:
		return setFloat(v, text)
	}
	return errors.New("schema " + s.Name + " has no kind")
}

func (d *jsonDecoder) list(s *shape.Schema, v reflect.Value, depth int) error {
	if depth > maxDepth {
		return errDepth
	}
	v.Set(reflect.MakeSlice(v.Type(), 0, 0))
	element := reflect.New(v.Type().Elem()).Elem()
	return d.elements(func(i int) error {
		element.SetZero()
		d.trail.push(step{index: i + 1})
		if err := d.value(s.Element.Schema, element, depth+1); err != nil {
			return err
		}
		d.trail.pop()
		v.Set(reflect.Append(v, element))
		return nil
	})
}

func (d *jsonDecoder) entries(s *shape.Schema, v reflect.Value, depth int) error {
	if depth > maxDepth {
		return errDepth
	}
	v.Set(reflect.MakeMap(v.Type()))
	element := reflect.New(v.Type().Elem()).Elem()
	return d.each(func(name []byte) error {
		key := string(name)
		element.SetZero()
		d.trail.push(entryStep(s, key))
		if err := d.value(s.Element.Schema, element, depth+1); err != nil {
			return err
		}
		d.trail.pop()
		v.SetMapIndex(reflect.ValueOf(key), element)
		return nil
	})
}
