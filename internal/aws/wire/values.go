package wire

import (
	"encoding/base64"
	"fmt"
	"math"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/funade/funade/internal/aws/shape"
)

// trail is the way from the input to the value being decoded. A decoder pushes a step before it descends and pops it
// afterwards, except on an error: then the trail tells where it happened.
type trail []step

type step struct {
	name  string // of a member or map entry; empty for a list element
	index int    // of a list element, from 1
}

func (t *trail) push(s step) { *t = append(*t, s) }

func (t *trail) pop() { *t = (*t)[:len(*t)-1] }

// String gives the path as validation messages do, such as tags.1.member.key.
func (t trail) String() string {
	var b strings.Builder
	for i, s := range t {
		if i > 0 {
			b.WriteByte('.')
		}
		if s.index > 0 {
			b.WriteString(strconv.Itoa(s.index) + ".member")
		} else {
			b.WriteString(shape.LowerCamel(s.name))
		}
	}
	return b.String()
}

// entryStep names a map entry, unless its key is sensitive.
func entryStep(s *shape.Schema, key string) step {
	if s.Key.Schema.Sensitive {
		key = "*"
	}
	return step{name: shape.Shorten(key)}
}

// wrap adds the path to an error.
func (t trail) wrap(err error) error {
	if err == nil || len(t) == 0 {
		return err
	}
	return fmt.Errorf("%w at '%s'", err, t)
}

// kindWords names kinds in messages.
var kindWords = map[shape.Kind]string{
	shape.Structure: "a structure", shape.List: "a list", shape.Map: "a map", shape.String: "a string",
	shape.Integer: "an integer", shape.Long: "a long integer", shape.Boolean: "a boolean", shape.Timestamp: "a timestamp",
	shape.Blob: "a base64 blob", shape.Double: "a number", shape.Float: "a number",
}

// settable is the value to fill for a structure's field: what a pointer field points to, newly made.
func settable(field reflect.Value) reflect.Value {
	if field.Kind() != reflect.Pointer {
		return field
	}
	field.Set(reflect.New(field.Type().Elem()))
	return field.Elem()
}

// setInteger parses an integer of the kind's width. Whole numbers written with a fraction or exponent count.
func setInteger(v reflect.Value, k shape.Kind, text string) error {
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		f, floatErr := strconv.ParseFloat(text, 64)
		if floatErr != nil || f != math.Trunc(f) {
			return fmt.Errorf("value must be %s", kindWords[k])
		}
		if math.Abs(f) > 1<<53 {
			return fmt.Errorf("value is out of the range of %s", kindWords[k])
		}
		n = int64(f)
	}
	if k == shape.Integer && (n < math.MinInt32 || n > math.MaxInt32) {
		return fmt.Errorf("value is out of the range of %s", kindWords[k])
	}
	v.SetInt(n)
	return nil
}

// setFloat parses a number.
func setFloat(v reflect.Value, text string) error {
	f, err := strconv.ParseFloat(text, 64)
	if err != nil || math.IsInf(f, 0) || math.IsNaN(f) {
		return fmt.Errorf("value is out of the range of %s", kindWords[shape.Double])
	}
	v.SetFloat(f)
	return nil
}

// setBlob decodes base64.
func setBlob(v reflect.Value, text string) error {
	b, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return fmt.Errorf("value must be %s", kindWords[shape.Blob])
	}
	v.SetBytes(b)
	return nil
}

// The years that a timestamp may have, as in ISO 8601 with four digits.
var minEpoch, maxEpoch = float64(time.Date(1, 1, 1, 0, 0, 0, 0, time.UTC).Unix()), float64(time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC).Unix())

// setEpoch parses seconds since 1970, with a fraction of up to milliseconds.
func setEpoch(v reflect.Value, text string) error {
	f, err := strconv.ParseFloat(text, 64)
	if err != nil || f < minEpoch || f > maxEpoch {
		return fmt.Errorf("value must be %s: seconds since 1970", kindWords[shape.Timestamp])
	}
	v.Set(reflect.ValueOf(time.UnixMilli(int64(math.Round(f * 1000))).UTC()))
	return nil
}

// setISO parses ISO 8601, or seconds since 1970.
func setISO(v reflect.Value, text string) error {
	t, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		return setEpoch(v, text)
	}
	v.Set(reflect.ValueOf(t.UTC()))
	return nil
}

// emptyEnum is the violation of an enum given as the empty string, which the generated types cannot tell from absent.
func (t trail) emptyEnum(s *shape.Schema) shape.Violation {
	return shape.Violation{Path: t.String(), Constraint: shape.EnumConstraint(s), Sensitive: s.Sensitive}
}
