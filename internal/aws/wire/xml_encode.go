package wire

import (
	"bytes"
	"encoding/base64"
	"encoding/xml"
	"fmt"
	"reflect"
	"strconv"
	"time"

	"github.com/funade/funade/internal/aws/shape"
)

// xmlWriter writes elements without white space between them.
type xmlWriter struct {
	bytes.Buffer
	emptyLists bool // write absent lists of the outermost structure as empty ones
}

func (w *xmlWriter) open(name string) { w.WriteString("<" + name + ">") }

func (w *xmlWriter) close(name string) { w.WriteString("</" + name + ">") }

// text writes an element that holds text. Characters that XML cannot hold become U+FFFD.
func (w *xmlWriter) text(name, content string) {
	w.open(name)
	_ = xml.EscapeText(&w.Buffer, []byte(content)) // a buffer never fails
	w.close(name)
}

// members writes a structure's members as the query protocol does: lists as <member>, maps as <entry>.
func (w *xmlWriter) members(s *shape.Schema, v reflect.Value, depth int) error {
	if depth > maxDepth {
		return errDepth
	}
	for i := range s.Members {
		m := &s.Members[i]
		field, ok := present(v.Field(i), m)
		if !ok && !(w.emptyLists && depth == 0 && m.Schema.Kind == shape.List) {
			continue
		}
		if err := w.element(m.WireName(""), m.Schema, field, depth+1); err != nil {
			return err
		}
	}
	return nil
}

// element writes one value, with the element around it.
func (w *xmlWriter) element(name string, s *shape.Schema, v reflect.Value, depth int) error {
	if depth > maxDepth {
		return errDepth
	}
	switch s.Kind {
	case shape.Structure:
		w.open(name)
		err := w.members(s, v, depth)
		w.close(name)
		return err
	case shape.List:
		return w.list(name, s, v, depth)
	case shape.Map:
		return w.entries(name, s, v, depth)
	}
	text, err := xmlText(s, v)
	if err != nil {
		return err
	}
	w.text(name, text)
	return nil
}

func (w *xmlWriter) list(name string, s *shape.Schema, v reflect.Value, depth int) error {
	inner := s.Element.WireName("member")
	if s.Flattened {
		inner = s.Element.WireName(name)
	} else {
		w.open(name)
	}
	for i := range v.Len() {
		if err := w.element(inner, s.Element.Schema, v.Index(i), depth+1); err != nil {
			return err
		}
	}
	if !s.Flattened {
		w.close(name)
	}
	return nil
}

func (w *xmlWriter) entries(name string, s *shape.Schema, v reflect.Value, depth int) error {
	inner := "entry"
	if s.Flattened {
		inner = name
	} else {
		w.open(name)
	}
	for _, key := range sortedKeys(v) {
		w.open(inner)
		w.text(s.Key.WireName("key"), key)
		if err := w.element(s.Element.WireName("value"), s.Element.Schema, v.MapIndex(reflect.ValueOf(key)), depth+1); err != nil {
			return err
		}
		w.close(inner)
	}
	if !s.Flattened {
		w.close(name)
	}
	return nil
}

func xmlText(s *shape.Schema, v reflect.Value) (string, error) {
	switch s.Kind {
	case shape.String:
		return v.String(), nil
	case shape.Integer, shape.Long:
		return strconv.FormatInt(v.Int(), 10), nil
	case shape.Boolean:
		return strconv.FormatBool(v.Bool()), nil
	case shape.Timestamp:
		return v.Interface().(time.Time).UTC().Format("2006-01-02T15:04:05.000Z"), nil
	case shape.Blob:
		return base64.StdEncoding.EncodeToString(v.Bytes()), nil
	case shape.Double, shape.Float:
		return strconv.FormatFloat(v.Float(), 'g', -1, v.Type().Bits()), nil
	}
	return "", fmt.Errorf("schema %s has no kind", s.Name)
}
