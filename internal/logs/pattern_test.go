package logs

import (
	"strings"
	"testing"

	"github.com/funade/funade/internal/app"
)

// patternTests are the pattern, a message that matches and one that does not; "-" leaves one out.
var patternTests = []struct{ pattern, yes, no string }{
	{"", "anything", "-"},
	{"  ", "", "-"},
	{"ERROR", "[ERROR 400] BAD REQUEST", "[error 400]"},
	{"ERROR ARGUMENTS", "[ERROR 419] MISSING ARGUMENTS", "[ERROR 400] BAD REQUEST"},
	{"?ERROR ?WARN", "WARN: x", "INFO: x"},
	{"ERROR -EXITING", "ERROR start", "ERROR EXITING"},
	{"-DEBUG", "INFO", "DEBUG x"},
	{`"INTERNAL SERVER ERROR"`, "[ERROR 500] INTERNAL SERVER ERROR", "INTERNAL  SERVER ERROR"},
	{`"say \"hi\" c:\\x"`, `say "hi" c:\x`, "say hi"},
	{`-"foo bar" ?"a-b" ?%c[0-9]+%`, "xx c12", "c12 foo bar"},
	{"%AUTHORIZED%", "[ERROR 401] UNAUTHORIZED REQUEST", "authorized"},
	{`%^\d{3} [a-z]+$%`, "123 abc", "123 ABC"},
	{`%50\%%`, "load 50%", "load 50"},
	{"ログ", "これはログです", "log"},

	{`{ $.eventType = "UpdateTrail" }`, `{"eventType": "UpdateTrail"}`, `{"eventType": "updatetrail"}`},
	{`{ $.a.b[0] = "x" && ($.n > 5 || $.t IS TRUE) }`, `{"a":{"b":["x"]},"n":1,"t":true}`, `{"a":{"b":["x"]},"n":5,"t":false}`},
	{`{ $.sourceIPAddress = 123.123.* }`, `{"sourceIPAddress":"123.123.1.2"}`, `{"sourceIPAddress":"1.123.123.2"}`},
	{`{ $.code = "*UnauthorizedOperation" }`, `{"code":"Client.UnauthorizedOperation"}`, `{"code":"UnauthorizedOperation2"}`},
	{`{ $.arr[1] != 7 }`, `{"arr":[7,8]}`, `{"arr":[8,7]}`},
	{`{ $.arr[1] != 7 }`, `{"arr":[7,"x"]}`, `{"arr":[8]}`},
	{`{ $.users[*].id = 3 }`, `{"users":[{"id":1},{"id":3}]}`, `{"users":[]}`},
	{`{ $.n = 4.04e2 }`, `{"n":404}`, `{"n":405}`},
	{`{ $.n = 404 }`, `{"n":4.04E+2}`, `{"n":"x"}`},
	{`{ $.n = 404 }`, `{"n":"404"}`, `{"n":"4040"}`},
	{`{ $.n >= -1.5 }`, `{"n":-1.5}`, `{"n":-1.6}`},
	{`{ $.n < 1e3 }`, `{"n":999}`, `{"n":1000}`},
	{`{ $.id = 90071992547409931 }`, `{"id":90071992547409931}`, `{"id":90071992547409932}`},
	{`{ $.x IS NULL }`, `{"x":null}`, `{}`},
	{`{ $.x NOT EXISTS }`, `{"y":1}`, `{"x":null}`},
	{`{ $.x EXISTS }`, `{"x":null}`, `{"y":1}`},
	{`{ $.x IS FALSE }`, `{"x":false}`, `{"x":true}`},
	{`{ $.x is true }`, `{"x":true}`, `{"x":"true"}`},
	{`{ $.x = true }`, `{"x":true}`, `{"x":false}`},
	{`{$.a=1&&$.b=2||$.c=3}`, `{"c":3}`, `{"a":1}`},
	{`{ $.['a.b']["c d"] = 1 }`, `{"a.b":{"c d":1}}`, `{"a":{"b":1}}`},
	{`{ $.[0].x = 1 }`, `[{"x":1}]`, `{"x":1}`},
	{`{ $.@timestamp = "2*" }`, `{"@timestamp":"2026"}`, `{"timestamp":"2026"}`},
	{`{ $.m = %^ab+$% }`, `{"m":"abbb"}`, `{"m":"ac"}`},
	{`{ $.m = "tab	\"q\"" }`, `{"m":"tab\t\"q\""}`, `{"m":"tab"}`},
	{`{ $.m = "é" }`, `{"m":"\u00e9"}`, `{"m":"e"}`},
	{`{ $.m != "x" }`, `{"m":"y"}`, `{"n":"y"}`},
	{`{ $.m = "x" }`, ` {"m":"x"} `, `{"m":"x"} trailing`},
	{`{ $.m = "x" }`, `{"m":"x"}`, `not json {"m":"x"}`},

	{`[ip, user, username, timestamp, request, status_code = 4*, bytes]`,
		`127.0.0.1 - frank [10/Oct/2000:13:25:15 -0700] "GET /index.html HTTP/1.0" 404 1534`,
		`127.0.0.1 - frank [10/Oct/2000:13:25:15 -0700] "GET /index.html HTTP/1.0" 200 1534`},
	{`[..., size > 100 && size < 200, msg != "x"]`, "a b c 150 y", "a b c 150 x"},
	{`[..., size > 100 && size < 200, msg != "x"]`, "101 y", "y"},
	{`[w1=ERROR, w2]`, "ERROR x", "ERROR x y"},
	{`[w1=ERROR || w1=%WARN%, ...]`, "XWARNX", "INFO a"},
	{`[a, ..., z="the end"]`, `x y "the end"`, `"the end"`},
	{`[(w=a || w=b) && w!=b, x=1.5e1]`, "a 15", "b 15"},
	{`[a=*x*y*]`, "1x2y3", "1y2x3"},
	{`[a, b]`, `[one field] "and another"`, "x"},
	{`[a, b]`, `"unclosed quote`, `"closed quote"`},
}

func TestPatterns(t *testing.T) {
	for _, tt := range patternTests {
		p, err := ParsePattern(tt.pattern)
		if err != nil {
			t.Errorf("%s: %v", tt.pattern, err)
			continue
		}
		if tt.yes != "-" && !p.Match(tt.yes) {
			t.Errorf("%s does not match %q", tt.pattern, tt.yes)
		}
		if tt.no != "-" && p.Match(tt.no) {
			t.Errorf("%s matches %q", tt.pattern, tt.no)
		}
	}
}

func TestPatternErrorsNameThePosition(t *testing.T) {
	tests := []struct{ pattern, want string }{
		{"foo-bar", "in term 'foo-bar'"},
		{"foo-bar", "position 4"},
		{"a ?", "position 4"},
		{`"open`, "opened at position 1"},
		{`""`, "phrase is empty at position 1"},
		{`"a"b`, "position 4"},
		{"%a", "never closed"},
		{"%%", "empty"},
		{"%a(b)%", `'(' is not supported in a regular expression at position 3`},
		{"%é%", "position 2"},
		{"%a{2,1}%", "not valid"},
		{"%a% %b% %c%", "more than 2"},
		{"%.{1000}%", "too large"},
		{"{", "expected a selector that begins with $, found the end at position 2"},
		{"{ $.a }", "expected an operator"},
		{"{ $.a = }", "a value is missing"},
		{"{ $.a > x }", "needs a number"},
		{`{ $.a > "5" }`, "needs a number"},
		{"{ $.a = 1 ", "expected && or || or }, found the end"},
		{"{ $.a = 1 } x", "position 13"},
		{"{ ($.a = 1 }", "found '}'"},
		{"{ $.a IS x }", "NULL, TRUE or FALSE"},
		{"{ $.a NOT x }", "EXISTS"},
		{"{ $ = 1 }", "after $"},
		{"{ $.a[x] = 1 }", "expected an index"},
		{"{ $.a[99999999999999999999] = 1 }", "expected an index"},
		{"{" + strings.Repeat("(", 40) + "$.a=1" + strings.Repeat(")", 40) + "}", "nested"},
		{"[a", "expected , or ]"},
		{"[]", "a field name is missing"},
		{"[a,,b]", "position 4"},
		{"[..., ...]", "second ellipsis"},
		{"[a=1 && b=2]", "names another field"},
		{"[a=1 && a]", "only a name"},
		{"[a > x]", "needs a number"},
		{"[a] b", "position 5"},
		{strings.Repeat("x", 1025), "at most 1024"},
		{"\xff", "UTF-8"},
	}
	for _, tt := range tests {
		_, err := ParsePattern(tt.pattern)
		if app.KindOf(err) != app.KindInvalidRequest || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%.40s: got %v, want %q", tt.pattern, err, tt.want)
		}
	}
}

// FuzzPattern holds the soundness of everything that skips work: what the matcher accepts, the text
// filter, the word filter and the whole-block filter accept too.
func FuzzPattern(f *testing.F) {
	for _, tt := range patternTests {
		f.Add(tt.pattern, tt.yes, tt.no)
	}
	f.Add(`{ $.a = "b\\c" }`, `{"a":"b\\c"}`, `{"\u0061":"b\\c"}`)
	f.Fuzz(func(t *testing.T, pattern, message, other string) {
		p, err := ParsePattern(pattern)
		if err != nil {
			if app.KindOf(err) != app.KindInvalidRequest {
				t.Fatalf("error of kind %v: %v", app.KindOf(err), err)
			}
			return
		}
		if !p.matcher.match([]byte(message)) {
			return
		}
		if !p.Match(message) {
			t.Fatalf("pattern %q: the prefilter refuses the match %q", pattern, message)
		}
		block := other + "\x00" + message + "\x00" + other
		if !p.mayMatch([]byte(block)) {
			t.Fatalf("pattern %q: the block filter refuses the match %q", pattern, message)
		}
		var b bloomBuilder
		b.add([]byte(message))
		b.add([]byte(other))
		filter := b.finish(nil)
		if !p.mayHold(filter, strings.Contains(block, `\`)) {
			t.Fatalf("pattern %q: the word filter refuses the match %q", pattern, message)
		}
	})
}

func TestWordFilterSkips(t *testing.T) {
	var b bloomBuilder
	for i := range 2000 {
		b.add([]byte(strings.Repeat("w", i%7) + string(rune('a'+i%26)) + strings.Repeat("z", i/26)))
	}
	filter := b.finish(nil)
	if len(filter) > 8<<10 {
		t.Errorf("%d bytes for 2000 words", len(filter))
	}
	for _, pattern := range []string{`"id 4f1c-77aa-90bd end"`, `{ $.requestId = "nowhere" }`, `[..., id = nowhere]`} {
		p, err := ParsePattern(pattern)
		if err != nil {
			t.Fatal(err)
		}
		if !p.hasWords(false) || p.mayHold(filter, false) {
			t.Errorf("%s does not skip a block without its words", pattern)
		}
	}
}
