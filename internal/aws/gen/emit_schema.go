package main

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// emitSchemas writes the table of schemas. References are indexes, so that recursive shapes need no initialisation order.
func (p *plan) emitSchemas(f *file) error {
	f.imports = []string{shapePath}
	f.printf("// model holds the schemas; the comment before each is its index.\nvar model = shape.NewModel([]shape.Schema{\n")
	for i, s := range p.shapes {
		fields, err := p.schemaFields(s)
		if err != nil {
			return fmt.Errorf("shape %s: %w", s.name, err)
		}
		f.printf("\t/* %d */ {Name: %q, %s},\n", i, s.name, strings.Join(fields, ", "))
	}
	f.printf("})\n")
	return nil
}

func (p *plan) schemaFields(s planShape) ([]string, error) {
	fields := []string{"Kind: shape." + exported(s.Type)}
	add := func(form string, args ...any) { fields = append(fields, fmt.Sprintf(form, args...)) }
	switch s.Type {
	case "structure":
		if len(s.Members) > 0 {
			var b strings.Builder
			b.WriteString("Members: []shape.Member{\n")
			for _, m := range s.Members {
				b.WriteString(p.member(m, p.required(s.modelShape, m)) + ",\n")
			}
			add("%s}", b.String())
		}
	case "list":
		add("Element: shape.Member%s", p.member(namedRef{modelRef: *s.Member}, false))
	case "map":
		add("Key: shape.Member%s, Element: shape.Member%s", p.member(namedRef{modelRef: *s.Key}, false), p.member(namedRef{modelRef: *s.Value}, false))
	case "string":
		if len(s.Enum) > 0 && !slices.Contains(p.free, s.name) {
			add("Enum: []string{\"%s\"}", strings.Join(s.Enum, `", "`))
		}
	}
	if s.Flattened {
		add("Flattened: true")
	}
	if s.Sensitive {
		add("Sensitive: true")
	}
	if !s.checked || len(s.Enum) > 0 {
		return fields, nil
	}
	if s.Min != nil {
		add("Min: new(int64(%d))", int64(*s.Min))
	}
	if s.Max != nil {
		add("Max: new(int64(%d))", int64(*s.Max))
	}
	if s.Pattern == "" || slices.Contains(p.free, s.name) || s.Pattern == ".*" {
		return fields, nil
	}
	t, err := translate(s.Pattern, slices.Contains(p.whole, s.name), s.Max != nil)
	if err != nil {
		return nil, err
	}
	not := ""
	if t.not != "" {
		not = ", Not: " + quote(t.not)
	}
	add("Pattern: &shape.Pattern{Text: %s, Expr: %s%s}", quote(t.text), quote(t.expr), not)
	return fields, nil
}

func (p *plan) member(m namedRef, required bool) string {
	var parts []string
	if m.name != "" {
		parts = append(parts, fmt.Sprintf("Name: %q", m.name))
	}
	if m.LocationName != "" && m.LocationName != m.name {
		parts = append(parts, fmt.Sprintf("Wire: %q", m.LocationName))
	}
	if m.QueryName != "" && m.QueryName != exported(cmp.Or(m.LocationName, m.name)) {
		parts = append(parts, fmt.Sprintf("Query: %q", m.QueryName))
	}
	parts = append(parts, fmt.Sprintf("Ref: %d", p.byName[m.Shape]))
	if required {
		parts = append(parts, "Required: true")
	}
	return "{" + strings.Join(parts, ", ") + "}"
}

// quote prefers a raw string.
func quote(s string) string {
	if strings.Contains(s, "`") {
		return fmt.Sprintf("%q", s)
	}
	return "`" + s + "`"
}
