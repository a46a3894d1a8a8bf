package wire

import (
	"encoding/base64"
	"fmt"
	"maps"
	"math"
	"reflect"
	"slices"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/funade/funade/internal/aws/shape"
)

// encodeJSON appends a pointer to a generated struct. Absent members are left out, but required lists and maps are
// written empty: clients take their absence for a broken answer.
func encodeJSON(b []byte, s *shape.Schema, from any) ([]byte, error) {
	v := reflect.ValueOf(from)
	if v.Kind() == reflect.Pointer && v.IsNil() && len(s.Members) == 0 {
		return append(b, "{}"...), nil // an output without members
	}
	if v.Kind() != reflect.Pointer || v.IsNil() {
		return nil, fmt.Errorf("cannot encode %s: no value", s.Name)
	}
	return appendJSON(b, s, v.Elem(), 0)
}

func appendJSON(b []byte, s *shape.Schema, v reflect.Value, depth int) ([]byte, error) {
	if depth > maxDepth {
		return nil, errDepth
	}
	switch s.Kind {
	case shape.Structure:
		return appendJSONStructure(b, s, v, depth)
	case shape.List:
		b = append(b, '[')
		for i := range v.Len() {
			if i > 0 {
				b = append(b, ',')
			}
			var err error
			if b, err = appendJSON(b, s.Element.Schema, v.Index(i), depth+1); err != nil {
				return nil, err
			}
		}
		return append(b, ']'), nil
	case shape.Map:
		b = append(b, '{')
		for i, key := range sortedKeys(v) {
			if i > 0 {
				b = append(b, ',')
			}
			b = append(appendJSONString(b, key), ':')
			var err error
			if b, err = appendJSON(b, s.Element.Schema, v.MapIndex(reflect.ValueOf(key)), depth+1); err != nil {
				return nil, err
			}
		}
		return append(b, '}'), nil
	case shape.String:
		return appendJSONString(b, v.String()), nil
	case shape.Integer, shape.Long:
		return strconv.AppendInt(b, v.Int(), 10), nil
	case shape.Boolean:
		return strconv.AppendBool(b, v.Bool()), nil
	case shape.Timestamp:
		return appendEpoch(b, v.Interface().(time.Time)), nil
	case shape.Blob:
		b = append(b, '"')
		return append(base64.StdEncoding.AppendEncode(b, v.Bytes()), '"'), nil
	case shape.Double, shape.Float:
		f := v.Float()
		if math.IsNaN(f) || math.IsInf(f, 0) {
			return nil, fmt.Errorf("cannot encode %s: %v has no form in JSON", s.Name, f)
		}
		return strconv.AppendFloat(b, f, 'g', -1, v.Type().Bits()), nil
	}
	return nil, fmt.Errorf("schema %s has no kind", s.Name)
}

func appendJSONStructure(b []byte, s *shape.Schema, v reflect.Value, depth int) ([]byte, error) {
	b = append(b, '{')
	first := true
	for i := range s.Members {
		m := &s.Members[i]
		field, ok := present(v.Field(i), m)
		if !ok {
			continue
		}
		if !first {
			b = append(b, ',')
		}
		first = false
		b = append(appendJSONString(b, m.WireName("")), ':')
		var err error
		if b, err = appendJSON(b, m.Schema, field, depth+1); err != nil {
			return nil, err
		}
	}
	return append(b, '}'), nil
}

// present resolves a structure's field; ok is false if it is absent and may be left out.
func present(field reflect.Value, m *shape.Member) (v reflect.Value, ok bool) {
	switch field.Kind() {
	case reflect.Pointer:
		return field.Elem(), !field.IsNil()
	case reflect.Slice, reflect.Map:
		return field, !field.IsNil() || m.Required
	case reflect.String: // an enum
		return field, field.Len() > 0
	}
	return field, true
}

func sortedKeys(v reflect.Value) []string {
	keys := make(map[string]struct{}, v.Len())
	for it := v.MapRange(); it.Next(); {
		keys[it.Key().String()] = struct{}{}
	}
	return slices.Sorted(maps.Keys(keys))
}

// appendEpoch writes seconds since 1970 with a fraction of up to milliseconds.
func appendEpoch(b []byte, t time.Time) []byte {
	ms := t.UnixMilli()
	if ms < 0 {
		b, ms = append(b, '-'), -ms
	}
	b = strconv.AppendInt(b, ms/1000, 10)
	if rest := ms % 1000; rest != 0 {
		b = append(b, '.', byte('0'+rest/100), byte('0'+rest/10%10), byte('0'+rest%10))
	}
	return b
}

// appendJSONString writes a string; bytes that are not valid UTF-8 become U+FFFD.
func appendJSONString(b []byte, s string) []byte {
	const digits = "0123456789abcdef"
	b = append(b, '"')
	for i := 0; i < len(s); {
		c := s[i]
		if c >= utf8.RuneSelf {
			r, size := utf8.DecodeRuneInString(s[i:])
			b = utf8.AppendRune(b, r)
			i += size
			continue
		}
		switch {
		case c == '"' || c == '\\':
			b = append(b, '\\', c)
		case c == '\n':
			b = append(b, '\\', 'n')
		case c == '\r':
			b = append(b, '\\', 'r')
		case c == '\t':
			b = append(b, '\\', 't')
		case c < ' ' || c == 0x7f:
			b = append(b, '\\', 'u', '0', '0', digits[c>>4], digits[c&15])
		default:
			b = append(b, c)
		}
		i++
	}
	return append(b, '"')
}
