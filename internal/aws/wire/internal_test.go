package wire

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/funade/funade/internal/aws/shape"
)

// everything has one member of each kind; everythingModel is its schema.
type everything struct {
	Text     *string
	Word     word
	Count    *int32
	Total    *int64
	Ratio    *float64
	On       *bool
	At       *time.Time
	Data     []byte
	Names    []string
	Items    []item
	Labels   map[string]string
	Nested   *everything
	Flat     []string
	FlatTags map[string]string
}

type word string

type item struct{ Key, Value *string }

var everythingModel = shape.NewModel([]shape.Schema{
	{Name: "everything", Kind: shape.Structure, Members: []shape.Member{
		{Name: "Text", Ref: 1}, {Name: "Word", Ref: 2}, {Name: "Count", Ref: 3}, {Name: "Total", Ref: 4}, {Name: "Ratio", Ref: 5}, {Name: "On", Ref: 6},
		{Name: "At", Ref: 7}, {Name: "Data", Ref: 8}, {Name: "Names", Ref: 9, Required: true}, {Name: "Items", Ref: 10}, {Name: "Labels", Ref: 11}, {Name: "Nested", Wire: "nest", Ref: 0},
		{Name: "Flat", Ref: 13}, {Name: "FlatTags", Ref: 14},
	}},
	{Name: "string", Kind: shape.String},
	{Name: "word", Kind: shape.String, Enum: []string{"A", "B"}},
	{Name: "int", Kind: shape.Integer},
	{Name: "long", Kind: shape.Long},
	{Name: "double", Kind: shape.Double},
	{Name: "bool", Kind: shape.Boolean},
	{Name: "time", Kind: shape.Timestamp},
	{Name: "blob", Kind: shape.Blob},
	{Name: "names", Kind: shape.List, Element: shape.Member{Ref: 1}},
	{Name: "items", Kind: shape.List, Element: shape.Member{Ref: 12}},
	{Name: "labels", Kind: shape.Map, Key: shape.Member{Ref: 1}, Element: shape.Member{Ref: 1}},
	{Name: "item", Kind: shape.Structure, Members: []shape.Member{{Name: "Key", Ref: 1}, {Name: "Value", Ref: 1}}},
	{Name: "flat", Kind: shape.List, Flattened: true, Element: shape.Member{Wire: "FlatItem", Ref: 1}},
	{Name: "flatTags", Kind: shape.Map, Flattened: true, Key: shape.Member{Wire: "K", Ref: 1}, Element: shape.Member{Wire: "V", Ref: 1}},
})

func full() *everything {
	return &everything{
		Text: new("a\"\\\n\x01é\U0001F600/<&"), Word: "B", Count: new(int32(-7)), Total: new(int64(1 << 60)), Ratio: new(0.5), On: new(false),
		At: new(time.Date(2026, 11, 22, 15, 0, 0, 250e6, time.UTC)), Data: []byte{0, 255}, Names: []string{"x", ""},
		Items: []item{{Key: new("k")}, {Value: new("v")}}, Labels: map[string]string{"b": "2", "a": "1"}, Nested: &everything{Names: []string{}},
		Flat: []string{"f"}, FlatTags: map[string]string{"t": "u"},
	}
}

const fullJSON = `{"Text":"a\"\\\n\u0001é😀/<&","Word":"B","Count":-7,"Total":1152921504606846976,"Ratio":0.5,"On":false,"At":1795359600.250,"Data":"AP8=",` +
	`"Names":["x",""],"Items":[{"Key":"k"},{"Value":"v"}],"Labels":{"a":"1","b":"2"},"nest":{"Names":[]},"Flat":["f"],"FlatTags":{"t":"u"}}`

func TestJSONRoundTrip(t *testing.T) {
	got, err := encodeJSON(nil, everythingModel.At(0), full())
	if err != nil || string(got) != fullJSON {
		t.Fatalf("encoded %s, %v\nwant    %s", got, err, fullJSON)
	}
	var back everything
	if err := decodeJSON(got, everythingModel.At(0), &back, new(shape.Violations)); err != nil || !reflect.DeepEqual(&back, full()) {
		t.Errorf("decoded %+v, %v", back, err)
	}
}

func TestJSONLeniency(t *testing.T) {
	for text, want := range map[string]everything{
		"":                                {},
		" \n":                             {},
		"{}":                              {},
		`{"Text":null,"Other":[{"a":1}]}`: {},
		`{"Text":"a","Text":"b"}`:         {Text: new("b")},
		`{"Text":"a","Text":null}`:        {},
		`{"Names":["a"],"Names":[]}`:      {Names: []string{}},
		`{"text":"wrong case"}`:           {},
		`{"Count":5.0,"Total":1e3}`:       {Count: new(int32(5)), Total: new(int64(1000))},
		`{"Text":"\ud83d\ude00\/\u0041"}`: {Text: new("😀/A")},
		`{"At":-1.5}`:                     {At: new(time.UnixMilli(-1500).UTC())},
	} {
		var got everything
		if err := decodeJSON([]byte(text), everythingModel.At(0), &got, new(shape.Violations)); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %+v, %v", text, got, err)
		}
	}
}

func TestJSONErrors(t *testing.T) {
	deep := strings.Repeat(`{"nest":`, 100) + "{}" + strings.Repeat("}", 100)
	unknownDeep := `{"x":` + strings.Repeat("[", 100000) + strings.Repeat("]", 100000) + "}"
	for text, want := range map[string]string{
		`[]`:                            "value must be a structure, not an array,",
		`{} x`:                          "text after the end of the input at byte 3",
		`{`:                             "expected a member name at byte 1",
		`{"Text":1}`:                    "value must be a string, not a number, at 'text'",
		`{"Count":"5"}`:                 "value must be an integer, not a string, at 'count'",
		`{"Count":5.5}`:                 "value must be an integer at 'count'",
		`{"Count":2147483648}`:          "value is out of the range of an integer at 'count'",
		`{"Total":9223372036854775808}`: "value is out of the range of a long integer at 'total'",
		`{"On":"true"}`:                 "value must be a boolean, not a string, at 'on'",
		`{"On":tru}`:                    "unknown literal at byte 6 at 'on'",
		`{"At":"2026-01-01T00:00:00Z"}`: "value must be a timestamp, not a string, at 'at'",
		`{"At":1e300}`:                  "value must be a timestamp: seconds since 1970 at 'at'",
		`{"Data":"%"}`:                  "value must be a base64 blob at 'data'",
		`{"Items":[{},{"Key":{}}]}`:     "value must be a string, not an object, at 'items.2.member.key'",
		`{"Names":["a",null]}`:          "value must be a string, not null, at 'names.2.member'",
		`{"Labels":{"k":7}}`:            "value must be a string, not a number, at 'labels.k'",
		`{"nest":{"nest":[]}}`:          "value must be a structure, not an array, at 'nested.nested'",
		"{\"Text\":\"\xff\"}":           "the text is not valid UTF-8 at 'text'",
		"{\"Text\":\"\\n\xff\"}":        "the text is not valid UTF-8 at 'text'",
		"{\"Text\":\"\n\"}":             "control character in a string at byte 9 at 'text'",
		`{"Text":"\ud83d"}`:             "half a surrogate pair in a string at byte 15 at 'text'",
		`{"Text":"\q"}`:                 "unknown escape in a string at byte 11 at 'text'",
		`{"Text":"`:                     "unterminated string at byte 9 at 'text'",
		`{"Count":01}`:                  "expected '}' at byte 10",
		deep:                            "nested deeper than 64 levels",
		unknownDeep:                     "nested deeper than 64 levels",
	} {
		err := decodeJSON([]byte(text), everythingModel.At(0), new(everything), new(shape.Violations))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.60s: got %v, want %s", text, err, want)
		}
	}
}

func TestEmptyEnumIsAViolation(t *testing.T) {
	var found shape.Violations
	if err := decodeJSON([]byte(`{"nest":{"Word":""},"Text":"x"}`), everythingModel.At(0), new(everything), &found); err != nil {
		t.Fatal(err)
	}
	if got, want := found.Error(), "1 validation error detected: Value '' at 'nested.word' failed to satisfy constraint: Member must satisfy enum value set: [A, B]"; got != want {
		t.Errorf("got %s", got)
	}
}

func TestQueryDecode(t *testing.T) {
	form := "Text=a%20b&Word=A&Count=3&Total=-1&Ratio=1.5&On=True&At=2026-11-22T15%3A00%3A00.250Z&Data=AP8%3D&Names.member.10=y&Names.member.2=x" +
		"&Items.member.1.Key=k&Items.member.2.Value=v&Labels.entry.1.key=a&Labels.entry.1.value=1&nest.Text=in&FlatItem.1=f&FlatTags.1.K=t&FlatTags.1.V=u&Unknown.x=1"
	parameters := map[string]string{}
	if err := parseForm(parameters, form); err != nil {
		t.Fatal(err)
	}
	var got everything
	if err := decodeQuery(parameters, queryNames{}, everythingModel.At(0), &got, new(shape.Violations)); err != nil {
		t.Fatal(err)
	}
	want := everything{
		Text: new("a b"), Word: "A", Count: new(int32(3)), Total: new(int64(-1)), Ratio: new(1.5), On: new(true), At: new(time.Date(2026, 11, 22, 15, 0, 0, 250e6, time.UTC)),
		Data: []byte{0, 255}, Names: []string{"x", "y"}, Items: []item{{Key: new("k")}, {Value: new("v")}}, Labels: map[string]string{"a": "1"},
		Nested: &everything{Text: new("in")}, Flat: []string{"f"}, FlatTags: map[string]string{"t": "u"},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v", got)
	}
}

func TestQueryErrors(t *testing.T) {
	for form, want := range map[string]string{
		"Count=x":                           "value must be an integer at 'count'",
		"On=yes":                            "value must be a boolean at 'on'",
		"At=now":                            "value must be a timestamp: seconds since 1970 at 'at'",
		"Text.x=1":                          "value must be a string, not a structure, at 'text'",
		"Names.member.x=1":                  "list elements must be numbered from 1 at 'names'",
		"Names.member.0=1":                  "list elements must be numbered from 1 at 'names'",
		"Labels.entry.1.key=a":              "a map entry must have a key and a value at 'labels'",
		"Items.member.1.Key.a=b":            "value must be a string, not a structure, at 'items.1.member.key'",
		strings.Repeat("a.", 70):            "nested deeper than 64 levels",
		"Text=%zz":                          "the value of a parameter is not validly escaped",
		"%zz=1":                             "a parameter name is not validly escaped",
		"Text=%ff":                          "not valid UTF-8",
		strings.Repeat("a&", maxParameters): "more than 10000 parameters",
	} {
		parameters := map[string]string{}
		err := parseForm(parameters, form)
		if err == nil {
			err = decodeQuery(parameters, queryNames{}, everythingModel.At(0), new(everything), new(shape.Violations))
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.40s: got %v, want %s", form, err, want)
		}
	}
}

func TestXMLEncode(t *testing.T) {
	var w xmlWriter
	if err := w.members(everythingModel.At(0), reflect.ValueOf(full()).Elem(), 0); err != nil {
		t.Fatal(err)
	}
	want := "<Text>a&#34;\\&#xA;\uFFFDé😀/&lt;&amp;</Text><Word>B</Word><Count>-7</Count><Total>1152921504606846976</Total><Ratio>0.5</Ratio><On>false</On>" +
		"<At>2026-11-22T15:00:00.250Z</At><Data>AP8=</Data><Names><member>x</member><member></member></Names>" +
		"<Items><member><Key>k</Key></member><member><Value>v</Value></member></Items>" +
		"<Labels><entry><key>a</key><value>1</value></entry><entry><key>b</key><value>2</value></entry></Labels><nest><Names></Names></nest>" +
		"<FlatItem>f</FlatItem><FlatTags><K>t</K><V>u</V></FlatTags>"
	if w.String() != want {
		t.Errorf("got  %s\nwant %s", w.String(), want)
	}
}

// A structure that refers to itself must end in an error, not in a full stack.
func TestEncodeDepth(t *testing.T) {
	loop := &everything{}
	loop.Nested = loop
	if _, err := encodeJSON(nil, everythingModel.At(0), loop); err == nil {
		t.Error("JSON: no error")
	}
	if err := new(xmlWriter).members(everythingModel.At(0), reflect.ValueOf(loop).Elem(), 0); err == nil {
		t.Error("XML: no error")
	}
}

// FuzzJSON holds the scanner against encoding/json: what one refuses the other refuses, but for depth and surrogates;
// what decodes must encode to text that decodes to the same.
func FuzzJSON(f *testing.F) {
	for _, seed := range []string{fullJSON, "", "{}", `{"a":[1,-0.5e+3,true,null,"\u00e9\ud83d\ude00"]}`, `{"Count":1e2}`, "{\"Text\":\"\xff\"}", `{"x":tru}`, `[[]]`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var got everything
		var found shape.Violations
		err := decodeJSON(data, everythingModel.At(0), &got, &found)
		s := scanner{data: data}
		skipErr := s.skip(0)
		s.peek()
		mine := skipErr == nil && s.pos == len(data)
		theirs := json.Valid(data) && utf8.Valid(data)
		if mine != theirs && !strings.Contains(fmt.Sprint(skipErr), "deeper") && !strings.Contains(fmt.Sprint(skipErr), "surrogate") {
			t.Fatalf("valid: %t here (%v), %t in encoding/json", mine, skipErr, theirs)
		}
		if err != nil {
			return
		}
		text, err := encodeJSON(nil, everythingModel.At(0), &got)
		if err != nil || !json.Valid(text) {
			t.Fatalf("encoded %s, %v", text, err)
		}
		var again everything
		if err := decodeJSON(text, everythingModel.At(0), &again, &found); err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		second, err := encodeJSON(nil, everythingModel.At(0), &again)
		if err != nil || string(second) != string(text) {
			t.Fatalf("encoded again %s, %v, first %s", second, err, text)
		}
	})
}

// FuzzQuery: no form may panic, and what decodes must encode.
func FuzzQuery(f *testing.F) {
	f.Add("Text=a&Names.member.1=x&Labels.entry.1.key=k&Labels.entry.1.value=v&nest.nest.Count=1")
	f.Add("FlatItem.1=a&FlatTags.1.K=a&FlatTags.1.V=b&.=&..=&a.=1&=1&%41=%zz")
	f.Fuzz(func(t *testing.T, form string) {
		parameters := map[string]string{}
		if parseForm(parameters, form) != nil {
			return
		}
		var got everything
		if decodeQuery(parameters, queryNames{}, everythingModel.At(0), &got, new(shape.Violations)) != nil {
			return
		}
		if err := new(xmlWriter).members(everythingModel.At(0), reflect.ValueOf(&got).Elem(), 0); err != nil {
			t.Fatal(err)
		}
	})
}

func TestEC2Query(t *testing.T) {
	form := "Text=a&Names.2=y&Names.1=x&Items.1.Key=k&Items.3.Value=v&Nest.Text=in&Nest.Names.1=z&Flat.1=f&text=lower&Names.member.1=no"
	parameters := map[string]string{}
	if err := parseForm(parameters, form); err != nil {
		t.Fatal(err)
	}
	var got everything
	err := decodeQuery(parameters, ec2Names{}, everythingModel.At(0), &got, new(shape.Violations))
	if err == nil || !strings.Contains(err.Error(), "list elements must be numbered from 1 at 'names'") {
		t.Errorf("got %v", err)
	}
	delete(parameters, "Names.member.1")
	got = everything{}
	if err := decodeQuery(parameters, ec2Names{}, everythingModel.At(0), &got, new(shape.Violations)); err != nil {
		t.Fatal(err)
	}
	want := everything{Text: new("a"), Names: []string{"x", "y"}, Items: []item{{Key: new("k")}, {Value: new("v")}}, Nested: &everything{Text: new("in"), Names: []string{"z"}}, Flat: []string{"f"}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v", got)
	}
}

// FuzzEC2Query: no form may panic, and what decodes must encode.
func FuzzEC2Query(f *testing.F) {
	f.Add("Text=a&Names.1=x&Items.1.Key=k&Nest.Nest.Count=1&Flat.1=f")
	f.Add("Names.0=a&Names.x=1&.=&..=&a.=1&=1&Items.1=x&Names=&Nest=")
	f.Fuzz(func(t *testing.T, form string) {
		parameters := map[string]string{}
		if parseForm(parameters, form) != nil {
			return
		}
		var got everything
		if decodeQuery(parameters, ec2Names{}, everythingModel.At(0), &got, new(shape.Violations)) != nil {
			return
		}
		w := xmlWriter{emptyLists: true}
		if err := w.members(everythingModel.At(0), reflect.ValueOf(&got).Elem(), 0); err != nil {
			t.Fatal(err)
		}
	})
}

func BenchmarkDecodeJSON(b *testing.B) {
	b.SetBytes(int64(len(fullJSON)))
	b.ReportAllocs()
	for b.Loop() {
		if err := decodeJSON([]byte(fullJSON), everythingModel.At(0), new(everything), new(shape.Violations)); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkEncodeJSON(b *testing.B) {
	in := full()
	b.SetBytes(int64(len(fullJSON)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := encodeJSON(nil, everythingModel.At(0), in); err != nil {
			b.Fatal(err)
		}
	}
}
