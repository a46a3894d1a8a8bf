package wire

import (
	"cmp"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/funade/funade/internal/aws/shape"
)

// ec2Codec speaks ec2Query: awsQuery with other parameter names, lists that are always flat, answers without a wrapper and
// errors of their own form.
type ec2Codec struct{ queryCodec }

// Protocols implements Codec.
func (ec2Codec) Protocols() []shape.Protocol { return []shape.Protocol{shape.EC2Query} }

// Claims implements Codec: never, because requests look like those of awsQuery, whose codec tells them apart.
func (ec2Codec) Claims(*http.Request) bool { return false }

// Decode implements Codec.
func (ec2Codec) Decode(call *Call) error {
	err := decodeForm(call, ec2Names{})
	if e, ok := shape.AsError(err); ok && e.Code == malformedInput {
		e.Code = call.Service.ValidationCode
	}
	return err
}

// ec2Names are the parameter names of ec2Query.
type ec2Names struct{}

func (ec2Names) member(m *shape.Member) string {
	if m.Query != "" {
		return m.Query
	}
	name := m.WireName("")
	return strings.ToUpper(name[:1]) + name[1:]
}

func (ec2Names) flat(*shape.Schema) bool { return true }

// check refuses characters that XML cannot hold: the answers that repeat a text would hold another one.
func (ec2Names) check(parameters map[string]string) error {
	for _, name := range slices.Sorted(maps.Keys(parameters)) {
		for _, text := range []string{name, parameters[name]} {
			if i := strings.IndexFunc(text, notXML); i >= 0 {
				return &Error{Code: "InvalidCharacter", Message: fmt.Sprintf("The parameter %s holds %q, a character that is not valid in XML: leave it out", shape.Shorten(name), firstRune(text[i:]))}
			}
		}
	}
	return nil
}

func firstRune(text string) rune {
	r, _ := utf8.DecodeRuneInString(text)
	return r
}

// notXML reports whether a character of valid UTF-8 is none of XML 1.0.
func notXML(r rune) bool {
	return r < 0x20 && r != '\t' && r != '\n' && r != '\r' || r == 0xfffe || r == 0xffff
}

// Encode implements Codec. Lists right below the root are there even when empty: clients index them without asking.
func (ec2Codec) Encode(call *Call) (Response, error) {
	w := xmlWriter{emptyLists: true}
	root := call.Operation.Name + "Response"
	w.WriteString("<" + root + ` xmlns="` + call.Service.XMLNamespace + `">`)
	w.text("requestId", call.ID)
	if len(call.Operation.Output.Members) == 0 {
		w.text("return", "true") // the handler's output may be nil
	} else if out, err := outputOf(call); err != nil {
		return Response{}, err
	} else if err := w.members(call.Operation.Output, out, 0); err != nil {
		return Response{}, err
	}
	w.close(root)
	return Response{Status: http.StatusOK, ContentType: "text/xml", Body: w.Bytes()}, nil
}

// EncodeError implements Codec.
func (ec2Codec) EncodeError(call *Call, e *Error) Response {
	var w xmlWriter
	w.WriteString("<Response><Errors><Error>")
	w.text("Code", e.Code)
	w.text("Message", e.Message)
	w.WriteString("</Error></Errors>")
	w.text("RequestID", call.ID)
	w.WriteString("</Response>")
	return Response{Status: e.HTTPStatus(), ContentType: "text/xml", Body: w.Bytes()}
}

// refuse implements refuser: parameters have the names that the caller used, and an absent one has a code of its own.
func (ec2Codec) refuse(call *Call, v *shape.Violations) *Error {
	list := slices.Clone(v.List)
	slices.SortStableFunc(list, func(a, b shape.Violation) int { return cmp.Compare(order(a), order(b)) })
	e := &Error{Code: call.Service.ValidationCode}
	words := make([]string, len(list))
	for i, one := range list {
		name := ec2Path(call.Operation.Input, one.Path)
		switch {
		case one.Null:
			e.Code = "MissingParameter"
			words[i] = "The request must contain the parameter " + name
		case one.Sensitive:
			words[i] = "The value for parameter " + name + " is invalid. " + one.Constraint
		default:
			words[i] = "Value (" + one.Value + ") for parameter " + name + " is invalid. " + one.Constraint
		}
	}
	e.Message = strings.Join(words, "; ")
	return e
}

// order puts absent parameters first.
func order(v shape.Violation) int {
	if v.Null {
		return 0
	}
	return 1
}

// ec2Path turns the path of a violation into the name of a parameter: tagSpecifications.1.member.tags becomes
// TagSpecification.1.Tag.
func ec2Path(s *shape.Schema, path string) string {
	var parts []string
	for part := range strings.SplitSeq(path, ".") {
		switch {
		case s.Kind == shape.List && part == "member":
			s = s.Element.Schema
			continue
		case s.Kind == shape.Structure:
			i := slices.IndexFunc(s.Members, func(m shape.Member) bool { return shape.LowerCamel(m.Name) == part })
			if i < 0 {
				return path
			}
			part, s = ec2Names{}.member(&s.Members[i]), s.Members[i].Schema
		}
		parts = append(parts, part)
	}
	return strings.Join(parts, ".")
}
