package shape

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

const (
	maxListed = 100 // violations spelled out in a message; the count names all
	maxEchoed = 256 // characters of an offending value that a message repeats
	maxDepth  = 64  // levels of nesting that validation follows; codecs refuse deeper input before
)

// Violation is one broken constraint.
type Violation struct {
	Path       string // lower-camel members, such as tags.1.member.key
	Value      string // the offending value, shortened
	Null       bool   // the value is absent
	Sensitive  bool   // Value is empty and must not be shown
	Constraint string // what the member must do
}

// String words the violation as AWS does.
func (v Violation) String() string {
	switch {
	case v.Null:
		return fmt.Sprintf("Value null at '%s' failed to satisfy constraint: %s", v.Path, v.Constraint)
	case v.Sensitive:
		return fmt.Sprintf("Value at '%s' failed to satisfy constraint: %s", v.Path, v.Constraint)
	}
	return fmt.Sprintf("Value '%s' at '%s' failed to satisfy constraint: %s", v.Value, v.Path, v.Constraint)
}

// Violations is the error of Validate: all broken constraints of one input, in the order of the model's members.
type Violations struct {
	List  []Violation // the first 100
	Total int
}

// Error words the violations as AWS does: the count, then each.
func (e *Violations) Error() string {
	var b strings.Builder
	plural := "s"
	if e.Total == 1 {
		plural = ""
	}
	fmt.Fprintf(&b, "%d validation error%s detected: ", e.Total, plural)
	for i, v := range e.List {
		if i > 0 {
			b.WriteString("; ")
		}
		b.WriteString(v.String())
	}
	if rest := e.Total - len(e.List); rest > 0 {
		fmt.Fprintf(&b, "; and %d more", rest)
	}
	return b.String()
}

// Merge appends the violations that another walk has found. An absent member that is wrong already counts once.
func (e *Violations) Merge(other *Violations) {
	rest := other.Total - len(other.List)
	for _, v := range other.List {
		known := func(k Violation) bool { return k.Path == v.Path }
		if !v.Null || !slices.ContainsFunc(e.List, known) {
			e.Add(v)
		}
	}
	e.Total += rest
}

// Add appends violations.
func (e *Violations) Add(list ...Violation) {
	for _, v := range list {
		e.Total++
		if len(e.List) < maxListed {
			e.List = append(e.List, v)
		}
	}
}

// Validate checks a pointer to a generated struct against its schema. It returns *Violations with everything that
// is wrong, or nil.
func (m *Model) Validate(ref int, v any) error {
	c := checker{}
	c.structure(&m.schemas[ref], reflect.ValueOf(v).Elem(), "", 0)
	if c.found.Total == 0 {
		return nil
	}
	return &c.found
}

type checker struct{ found Violations }

func (c *checker) add(s *Schema, path, value, constraint string) {
	v := Violation{Path: path, Value: Shorten(value), Constraint: constraint, Sensitive: s.Sensitive}
	if s.Sensitive {
		v.Value = ""
	}
	c.found.Add(v)
}

func (c *checker) structure(s *Schema, v reflect.Value, path string, depth int) {
	if depth > maxDepth {
		c.add(s, path, "", "Member must not be nested deeper than "+strconv.Itoa(maxDepth)+" levels")
		return
	}
	for i := range s.Members {
		m := &s.Members[i]
		field := v.Field(i)
		if absent(field) {
			if m.Required {
				c.found.Add(Violation{Path: join(path, m.Name), Null: true, Constraint: "Member must not be null"})
			}
			continue
		}
		if field.Kind() == reflect.Pointer {
			field = field.Elem()
		}
		c.value(m.Schema, field, func() string { return join(path, m.Name) }, depth+1)
	}
}

// value checks one present value. The path is built only when something is wrong or nested.
func (c *checker) value(s *Schema, v reflect.Value, path func() string, depth int) {
	switch s.Kind {
	case Structure:
		c.structure(s, v, path(), depth)
	case List:
		c.length(s, v.Len(), v, path)
		for i := range v.Len() {
			c.value(s.Element.Schema, v.Index(i), func() string { return path() + "." + strconv.Itoa(i+1) + ".member" }, depth+1)
		}
	case Map:
		c.length(s, v.Len(), v, path)
		c.entries(s, v, path, depth)
	case String:
		c.text(s, v.String(), path)
	case Integer, Long:
		c.number(s, float64(v.Int()), v, path)
	case Double, Float:
		c.number(s, v.Float(), v, path)
	case Blob:
		c.length(s, v.Len(), v, path)
	}
}

// entries checks a map's keys and values in key order, so that messages are stable.
func (c *checker) entries(s *Schema, v reflect.Value, path func() string, depth int) {
	keys := make(map[string]reflect.Value, v.Len())
	for it := v.MapRange(); it.Next(); {
		keys[it.Key().String()] = it.Value()
	}
	for _, key := range slices.Sorted(maps.Keys(keys)) {
		var inner checker
		inner.text(s.Key.Schema, key, path)
		if len(inner.found.List) > 0 {
			rules := make([]string, len(inner.found.List))
			for i, f := range inner.found.List {
				rules[i] = f.Constraint
			}
			c.add(s.Key.Schema, path(), key, "Map keys must satisfy constraint: ["+strings.Join(rules, ", ")+"]")
		}
		shown := Shorten(key)
		if s.Key.Schema.Sensitive {
			shown = "*"
		}
		c.value(s.Element.Schema, keys[key], func() string { return path() + "." + shown + ".member" }, depth+1)
	}
}

func (c *checker) text(s *Schema, value string, path func() string) {
	if len(s.Enum) > 0 {
		if !slices.Contains(s.Enum, value) {
			c.add(s, path(), value, EnumConstraint(s))
		}
		return
	}
	if s.Min != nil || s.Max != nil {
		n := int64(utf8.RuneCountInString(value))
		if s.Max != nil && n > *s.Max {
			c.add(s, path(), value, "Member must have length less than or equal to "+strconv.FormatInt(*s.Max, 10))
		}
		if s.Min != nil && n < *s.Min {
			c.add(s, path(), value, "Member must have length greater than or equal to "+strconv.FormatInt(*s.Min, 10))
		}
	}
	if s.Pattern != nil && !s.Pattern.Matches(value) {
		c.add(s, path(), value, "Member must satisfy regular expression pattern: "+s.Pattern.Text)
	}
}

// EnumConstraint words the constraint of an enum.
func EnumConstraint(s *Schema) string {
	return "Member must satisfy enum value set: [" + strings.Join(s.Enum, ", ") + "]"
}

func (c *checker) length(s *Schema, n int, v reflect.Value, path func() string) {
	if s.Max != nil && int64(n) > *s.Max {
		c.add(s, path(), echo(s, v), "Member must have length less than or equal to "+strconv.FormatInt(*s.Max, 10))
	}
	if s.Min != nil && int64(n) < *s.Min {
		c.add(s, path(), echo(s, v), "Member must have length greater than or equal to "+strconv.FormatInt(*s.Min, 10))
	}
}

func (c *checker) number(s *Schema, n float64, v reflect.Value, path func() string) {
	if s.Max != nil && n > float64(*s.Max) {
		c.add(s, path(), fmt.Sprint(v.Interface()), "Member must have value less than or equal to "+strconv.FormatInt(*s.Max, 10))
	}
	if s.Min != nil && n < float64(*s.Min) {
		c.add(s, path(), fmt.Sprint(v.Interface()), "Member must have value greater than or equal to "+strconv.FormatInt(*s.Min, 10))
	}
}

// echo shows a collection in a message: its text if it holds plain strings that are not sensitive, else its size.
func echo(s *Schema, v reflect.Value) string {
	if v.Len() == 0 {
		return "[]"
	}
	if s.Kind == List && s.Element.Schema.Kind == String && !s.Element.Schema.Sensitive {
		parts := make([]string, 0, 8)
		for i := range min(v.Len(), 8) {
			parts = append(parts, v.Index(i).String())
		}
		if v.Len() > len(parts) {
			parts = append(parts, "…")
		}
		return "[" + strings.Join(parts, ", ") + "]"
	}
	if s.Kind == Blob {
		return fmt.Sprintf("[%d bytes]", v.Len())
	}
	return fmt.Sprintf("[%d elements]", v.Len())
}

// absent reports whether a structure's field holds nothing.
func absent(v reflect.Value) bool {
	switch v.Kind() {
	case reflect.Pointer, reflect.Slice, reflect.Map:
		return v.IsNil()
	case reflect.String:
		return v.Len() == 0
	case reflect.Struct:
		t, ok := v.Interface().(time.Time)
		return ok && t.IsZero()
	}
	return false
}

// LowerCamel is a member's name as messages spell it.
func LowerCamel(name string) string {
	if name != "" && name[0] >= 'A' && name[0] <= 'Z' {
		return string(name[0]+'a'-'A') + name[1:]
	}
	return name
}

func join(path, name string) string {
	if path == "" {
		return LowerCamel(name)
	}
	return path + "." + LowerCamel(name)
}

// Shorten cuts a value that a message repeats to 256 characters.
func Shorten(s string) string {
	if len(s) <= maxEchoed {
		return s
	}
	n := 0
	for i := range s {
		if n == maxEchoed {
			return s[:i] + "…"
		}
		n++
	}
	return s
}
