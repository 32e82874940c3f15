package isomer

import (
	"encoding/json"
	"math"
	"reflect"
	"strings"
	"testing"
)

// texts of all kinds, JSON and not.
var jsonTexts = []string{
	`null`, `true`, `false`, `0`, `-0`, `12`, `-12`, `007`, `1.5`, `-1.5e3`, `1e400`, `1E+2`, `1.`, `.5`, `-`, `+1`, `1e`,
	`9007199254740993`, `123456789012345`, `1234567890123456`, `0x10`, `1_000`, `Infinity`, `NaN`,
	`""`, `"a"`, `"grün 😀"`, `"a\nb\t\"\\\/\b\f\r"`, `"\u00e9"`, `"\ud83d\ude00"`, `"\ud83d"`, `"\x"`, `"a`, "\"a\nb\"",
	"\"\xff\"", "\"\\n\xff\"", `"\`, `"\u12"`,
	`[]`, `[1,2,3]`, ` [ 1 , "a" ,null ] `, `[1,]`, `[,1]`, `[1 2]`, `[`, `]`, `[[[]]]`,
	`{}`, `{"a":1}`, ` { "a" : { "b" : [ { } ] } , "c" : false } `, `{"a":1,"a":2}`, `{"a":1,}`, `{"a"}`, `{a:1}`, `{"a":}`, `{`,
	`{"\u0061":1}`, `nul`, `nulll`, `truefalse`, `1 1`, ``, ` `, "\ufeff1", strings.Repeat("[", 300) + strings.Repeat("]", 300),
}

func TestJSONIsReadAsEncodingJSONDoes(t *testing.T) {
	for _, text := range jsonTexts {
		check[any](t, text)
		check[map[string]any](t, text)
		check[[]any](t, text)
	}
}

func check[T any](t *testing.T, text string) {
	t.Helper()
	var own, expected T
	ownErr := Payload{JSONText, []byte(text)}.read(&own)
	err := json.Unmarshal([]byte(text), &expected)
	if (ownErr == nil) != (err == nil) || !reflect.DeepEqual(own, expected) {
		t.Errorf("%q: %#v, %v instead of %#v, %v", text, own, ownErr, expected, err)
	}
	if number, ok := any(own).(float64); ok && math.Signbit(number) != math.Signbit(any(expected).(float64)) {
		t.Errorf("%q has the wrong sign", text)
	}
}

func TestAValueThatIsThereIsNotReplaced(t *testing.T) {
	into := map[string]any{"a": 1.0}
	if err := (Payload{JSONText, []byte(`{"b":2}`)}).read(&into); err != nil || len(into) != 2 {
		t.Errorf("%v, %v", into, err)
	}
}

func TestJSONIsWrittenAsEncodingJSONDoes(t *testing.T) {
	circle := map[string]any{}
	circle["a"] = []any{circle}
	values := []any{
		"a", "grün 😀", "a\"\\\n\x00\u2028", "\xff", 0.0, math.Copysign(0, -1), 1.0, -15.0, 1.5, 1e15, -1e15, 1e21, 1e-7,
		9007199254740993.0, math.Inf(1), math.NaN(), math.MaxFloat64, 12, -3, true, false,
		map[string]any(nil), []any(nil), map[string]any{}, []any{}, circle,
		map[string]any{"b": 1, "a": []any{nil, int64(7), uint8(3), float32(1.5), "x"}, "ü": map[string]any{"\n": nil}},
		[]any{[]byte("ab"), struct{ A int }{1}, Payload{}, Payload{JSONText, []byte("[1]")}, map[string]int{"a": 1}, func() {}},
	}
	for _, value := range values {
		own, ownErr := writeJSON(value)
		expected, err := json.Marshal(value)
		if (ownErr == nil) != (err == nil) || err == nil && string(own) != string(expected) {
			t.Errorf("%#v: %s, %v instead of %s, %v", value, own, ownErr, expected, err)
		}
	}
	if text, _ := writeJSON([]any{"<&>"}); string(text) != `["<&>"]` {
		t.Errorf("%s", text)
	}
}
