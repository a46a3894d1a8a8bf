package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// plan is what one package will hold: the reachable shapes under their Go names, in a stable order.
type plan struct {
	service
	model      *apiModel
	operations []planOperation
	shapes     []planShape // structures, lists, maps and scalars; the index is the schema's reference
	errors     []planShape
	byName     map[string]int
}

type planOperation struct {
	name          string
	input, output int
	resultWrapper string
	errors        []string // wire codes
}

type planShape struct {
	*modelShape
	name    string // name in the model; operation inputs and outputs have the names <Operation>Input and …Output
	checked bool   // reachable from an input: constraints are emitted
}

// newPlan selects what the operations need and gives every input and output a shape of its own.
func newPlan(s service, m *apiModel) (*plan, error) {
	p := &plan{service: s, model: m, byName: map[string]int{}}
	names := s.operations
	if len(names) == 0 {
		names = slices.Collect(maps.Keys(m.Operations))
	}
	names = slices.Sorted(slices.Values(names))
	inputs, outputs := map[string]bool{}, map[string]bool{}
	failures := map[string]bool{}
	for _, name := range names {
		op := m.Operations[name]
		if op == nil {
			return nil, fmt.Errorf("%s: the model has no operation %s", s.pkg, name)
		}
		p.own(name+"Input", op.Input)
		p.own(name+"Output", op.Output)
		p.reach(name+"Input", inputs)
		p.reach(name+"Output", outputs)
		for _, e := range op.Errors {
			failures[e.Shape] = true
		}
	}
	for name := range failures {
		for _, member := range m.Shapes[name].Members {
			p.reach(member.Shape, outputs)
		}
	}
	all := maps.Clone(inputs)
	maps.Copy(all, outputs)
	for _, name := range slices.Sorted(maps.Keys(all)) {
		p.byName[name] = len(p.shapes)
		p.shapes = append(p.shapes, planShape{modelShape: m.Shapes[name], name: name, checked: inputs[name]})
	}
	for _, name := range slices.Sorted(maps.Keys(failures)) {
		p.errors = append(p.errors, planShape{modelShape: m.Shapes[name], name: name})
	}
	for _, name := range names {
		p.operations = append(p.operations, p.operation(name))
	}
	return p, nil
}

// own adds a copy of an input or output shape under a name of its own; an operation without one gets an empty structure.
func (p *plan) own(name string, ref *modelRef) {
	s := &modelShape{Type: "structure"}
	if ref != nil {
		c := *p.model.Shapes[ref.Shape]
		s = &c
	}
	p.model.Shapes[name] = s
}

// reach marks a shape and everything that it refers to.
func (p *plan) reach(name string, seen map[string]bool) {
	if seen[name] {
		return
	}
	seen[name] = true
	for _, ref := range p.model.Shapes[name].refs() {
		p.reach(ref.Shape, seen)
	}
}

func (s *modelShape) refs() []modelRef {
	var refs []modelRef
	for _, m := range s.Members {
		refs = append(refs, m.modelRef)
	}
	for _, r := range []*modelRef{s.Member, s.Key, s.Value} {
		if r != nil {
			refs = append(refs, *r)
		}
	}
	return refs
}

func (p *plan) operation(name string) planOperation {
	op := p.model.Operations[name]
	o := planOperation{name: name, input: p.byName[name+"Input"], output: p.byName[name+"Output"]}
	if op.Output != nil {
		o.resultWrapper = op.Output.ResultWrapper
	}
	for _, e := range op.Errors {
		o.errors = append(o.errors, p.model.Shapes[e.Shape].code(e.Shape))
	}
	slices.Sort(o.errors)
	return o
}

// required reports whether a member has to be there. A boolean never has to, whatever the model says: SDKs whose
// booleans are plain values leave false out.
func (p *plan) required(s *modelShape, m namedRef) bool {
	return slices.Contains(s.Required, m.name) && p.model.Shapes[m.Shape].Type != "boolean"
}

// code is an error's name on the wire.
func (s *modelShape) code(name string) string {
	if s.Error.Code != "" {
		return s.Error.Code
	}
	return name
}

// status is an error's HTTP status.
func (s *modelShape) status() int {
	switch {
	case s.Error.Status != 0:
		return s.Error.Status
	case s.Fault:
		return 500
	}
	return 400
}

// messageMember is the member that holds an error's text: the spelling that most of the service's errors use.
func (p *plan) messageMember() string {
	upper, lower := 0, 0
	for _, e := range p.errors {
		for _, m := range e.Members {
			switch m.name {
			case "Message":
				upper++
			case "message":
				lower++
			}
		}
	}
	if upper > lower {
		return "Message"
	}
	return "message"
}

// internalCode is the wire code of the first modelled error that is the server's fault; empty if there is none.
func (p *plan) internalCode() string {
	for _, e := range p.errors {
		if e.status() == 500 {
			return e.code(e.name)
		}
	}
	return ""
}

// goType is the Go type of a shape used as a list element or map value.
func (p *plan) goType(name string) (string, error) {
	s := p.model.Shapes[name]
	switch s.Type {
	case "structure":
		return exported(name), nil
	case "list":
		t, err := p.goType(s.Member.Shape)
		return "[]" + t, err
	case "map":
		t, err := p.goType(s.Value.Shape)
		return "map[string]" + t, err
	case "string":
		if len(s.Enum) > 0 {
			return exported(name), nil
		}
		return "string", nil
	}
	scalar := map[string]string{
		"integer": "int32", "long": "int64", "boolean": "bool", "timestamp": "time.Time", "blob": "[]byte", "double": "float64", "float": "float32",
	}
	if t := scalar[s.Type]; t != "" {
		return t, nil
	}
	return "", fmt.Errorf("%s: shape %s has the unknown type %q", p.pkg, name, s.Type)
}

// fieldType is the Go type of a shape used as a structure member.
func (p *plan) fieldType(name string) (string, error) {
	t, err := p.goType(name)
	s := p.model.Shapes[name]
	if s.Type == "list" || s.Type == "map" || s.Type == "blob" || len(s.Enum) > 0 {
		return t, err
	}
	return "*" + t, err
}

// exported makes the first letter upper case.
func exported(name string) string { return strings.ToUpper(name[:1]) + name[1:] }

// constName is the part of a constant's name that stands for an enum value: CREATE_FAILED becomes CreateFailed.
func constName(value string) string {
	words := strings.FieldsFunc(value, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9')
	})
	for i, w := range words {
		if w == strings.ToUpper(w) {
			w = strings.ToLower(w)
		}
		words[i] = exported(w)
	}
	return strings.Join(words, "")
}
