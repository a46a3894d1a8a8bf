package wire

import (
	"errors"
	"fmt"
	"net/url"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/funade/funade/internal/aws/shape"
)

// maxParameters bounds the parameters of a query request.
const maxParameters = 10000

// parseForm parses form-encoded text; of a parameter given twice the last counts.
func parseForm(into map[string]string, text string) error {
	if strings.Count(text, "&")+len(into) >= maxParameters {
		return fmt.Errorf("the request has more than %d parameters", maxParameters)
	}
	for part := range strings.SplitSeq(text, "&") {
		if part == "" {
			continue
		}
		k, v, _ := strings.Cut(part, "=")
		key, err := url.QueryUnescape(k)
		if err != nil {
			return errors.New("a parameter name is not validly escaped")
		}
		value, err := url.QueryUnescape(v)
		if err != nil {
			return errors.New("the value of a parameter is not validly escaped")
		}
		if !utf8.ValidString(key) || !utf8.ValidString(value) {
			return errors.New("the text is not valid UTF-8")
		}
		into[key] = value
	}
	return nil
}

// node is one step of the dotted parameter names: Filter.1.Name is three nodes deep.
type node struct {
	value    string
	set      bool // a parameter has exactly this name
	children map[string]*node
}

// newTree splits parameter names at their dots.
func newTree(parameters map[string]string) (*node, error) {
	root := &node{}
	for name, value := range parameters {
		if strings.Count(name, ".") > maxDepth {
			return nil, errDepth
		}
		at := root
		for part := range strings.SplitSeq(name, ".") {
			next := at.children[part]
			if next == nil {
				next = &node{}
				if at.children == nil {
					at.children = map[string]*node{}
				}
				at.children[part] = next
			}
			at = next
		}
		at.value, at.set = value, true
	}
	return root, nil
}

// child finds a child; nil if there is none.
func (n *node) child(name string) *node {
	if n == nil {
		return nil
	}
	return n.children[name]
}

// numbered lists the children in the order of their numbers. Gaps are allowed, names that are no numbers are not.
func (n *node) numbered() ([]*node, error) {
	if n == nil {
		return nil, nil
	}
	type entry struct {
		number int
		node   *node
	}
	entries := make([]entry, 0, len(n.children))
	for name, child := range n.children {
		number, err := strconv.Atoi(name)
		if err != nil || number < 1 {
			return nil, errors.New("list elements must be numbered from 1")
		}
		entries = append(entries, entry{number, child})
	}
	slices.SortFunc(entries, func(x, y entry) int { return x.number - y.number })
	nodes := make([]*node, len(entries))
	for i, e := range entries {
		nodes[i] = e.node
	}
	return nodes, nil
}

// naming is how a protocol names the parameters of a form.
type naming interface {
	// member is the name of a structure's member.
	member(m *shape.Member) string
	// flat reports whether a list's elements follow its own name.
	flat(list *shape.Schema) bool
	// check refuses parameters that no operation takes.
	check(parameters map[string]string) error
}

// queryNames are those of awsQuery.
type queryNames struct{}

func (queryNames) member(m *shape.Member) string {
	if m.Schema.Kind == shape.List && m.Schema.Flattened && m.Schema.Element.Wire != "" {
		return m.Schema.Element.Wire // flattened lists go by the name of their elements
	}
	return m.WireName("")
}

func (queryNames) flat(list *shape.Schema) bool { return list.Flattened }

func (queryNames) check(map[string]string) error { return nil }

// decodeQuery fills a pointer to a generated struct from parameters. Unknown parameters are ignored.
func decodeQuery(parameters map[string]string, names naming, s *shape.Schema, into any, found *shape.Violations) error {
	root, err := newTree(parameters)
	if err != nil {
		return err
	}
	d := queryDecoder{names: names, found: found}
	if err := d.structure(s, reflect.ValueOf(into).Elem(), root, 0); err != nil {
		return d.trail.wrap(err)
	}
	return nil
}

type queryDecoder struct {
	names naming
	trail trail
	found *shape.Violations
}

func (d *queryDecoder) structure(s *shape.Schema, v reflect.Value, n *node, depth int) error {
	if depth > maxDepth {
		return errDepth
	}
	for i := range s.Members {
		m := &s.Members[i]
		child := n.child(d.names.member(m))
		if child == nil {
			continue
		}
		d.trail.push(step{name: m.Name})
		if err := d.value(m.Schema, settable(v.Field(i)), child, depth+1); err != nil {
			return err
		}
		d.trail.pop()
	}
	return nil
}

func (d *queryDecoder) value(s *shape.Schema, v reflect.Value, n *node, depth int) error {
	switch s.Kind {
	case shape.Structure:
		return d.structure(s, v, n, depth)
	case shape.List:
		return d.list(s, v, n, depth)
	case shape.Map:
		return d.entries(s, v, n, depth)
	}
	if !n.set {
		return fmt.Errorf("value must be %s, not a structure,", kindWords[s.Kind])
	}
	switch s.Kind {
	case shape.String:
		if n.value == "" && len(s.Enum) > 0 {
			d.found.Add(d.trail.emptyEnum(s))
		}
		v.SetString(n.value)
	case shape.Blob:
		return setBlob(v, n.value)
	case shape.Boolean:
		switch strings.ToLower(n.value) {
		case "true":
			v.SetBool(true)
		case "false":
			v.SetBool(false)
		default:
			return fmt.Errorf("value must be %s", kindWords[s.Kind])
		}
	case shape.Integer, shape.Long:
		return setInteger(v, s.Kind, n.value)
	case shape.Timestamp:
		return setISO(v, n.value)
	case shape.Double, shape.Float:
		return setFloat(v, n.value)
	default:
		return errors.New("schema " + s.Name + " has no kind")
	}
	return nil
}

func (d *queryDecoder) list(s *shape.Schema, v reflect.Value, n *node, depth int) error {
	if depth > maxDepth {
		return errDepth
	}
	if !d.names.flat(s) {
		n = n.child(s.Element.WireName("member"))
	}
	nodes, err := n.numbered()
	if err != nil {
		return err
	}
	list := reflect.MakeSlice(v.Type(), len(nodes), len(nodes))
	for i, child := range nodes {
		d.trail.push(step{index: i + 1})
		if err := d.value(s.Element.Schema, list.Index(i), child, depth+1); err != nil {
			return err
		}
		d.trail.pop()
	}
	v.Set(list)
	return nil
}

func (d *queryDecoder) entries(s *shape.Schema, v reflect.Value, n *node, depth int) error {
	if depth > maxDepth {
		return errDepth
	}
	if !s.Flattened {
		n = n.child("entry")
	}
	nodes, err := n.numbered()
	if err != nil {
		return err
	}
	m := reflect.MakeMapWithSize(v.Type(), len(nodes))
	for _, entry := range nodes {
		key, value := entry.child(s.Key.WireName("key")), entry.child(s.Element.WireName("value"))
		if key == nil || value == nil {
			return errors.New("a map entry must have a key and a value")
		}
		element := reflect.New(v.Type().Elem()).Elem()
		d.trail.push(entryStep(s, key.value))
		if err := d.value(s.Element.Schema, element, value, depth+1); err != nil {
			return err
		}
		d.trail.pop()
		m.SetMapIndex(reflect.ValueOf(key.value), element)
	}
	v.Set(m)
	return nil
}
