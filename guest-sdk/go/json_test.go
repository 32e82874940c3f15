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

type (
	inner struct {
		N    int8 `json:"n"`
		Next *struct{ A, B uint16 }
	}
	word   string
	sample struct {
		ID      int      `json:"id"`
		Text    string   `json:"text"`
		Tags    []string `json:"tags,omitempty"`
		OK      bool     `json:"ok"`
		Ratio   float64
		Small   uint8
		Big     uint64 `json:",omitempty"`
		Word    word   `json:"word,omitempty"`
		Any     any    `json:"any"`
		Map     map[string]any
		Items   []inner `json:"items"`
		Pointer *inner  `json:"pointer,omitempty"`
		Hidden  string  `json:"-"`
		own     int
	}
	itself struct {
		A    int
		More []itself
	}
	embedded struct {
		inner
		A int
	}
	quoted struct {
		A int `json:",string"`
	}
	loud struct{ A shout }
)

type shout string

func (s shout) MarshalText() ([]byte, error) { return []byte(strings.ToUpper(string(s))), nil }

var typedTexts = []string{
	`{"id":12345,"text":"xx","tags":["a","b","c"],"ok":true}`,
	`{"ID":1,"TEXT":"a","Ok":true}`, `{"id":1,"ID":2}`, `{"id":null,"tags":null,"pointer":null,"any":null,"Map":null}`,
	`{"id":1.0}`, `{"id":1e2}`, `{"id":"1"}`, `{"id":-9007199254740993}`, `{"id":9223372036854775808}`, `{"id":01}`, `{"id":-0}`,
	`{"Small":255}`, `{"Small":256}`, `{"Small":-1}`, `{"Big":18446744073709551615}`, `{"Big":123456789012345678}`,
	`{"items":[{"n":127},{"n":-128,"Next":{"A":65535,"B":0}},{}]}`, `{"items":[{"n":128}]}`, `{"items":[{"n":-129}]}`,
	`{"items":[]}`, `{"items":[{"n":1}],"items":[{"Next":{}}]}`, `{"pointer":{"n":1},"pointer":{"Next":{"B":2}}}`,
	`{"tags":["a"],"tags":[]}`, `{"tags":["1","2","3","4","5","6","7","8","9"]}`, `{"tags":[1]}`, `{"tags":{}}`, `{"text":1}`,
	`{"Map":{"a":[1]},"any":[1,{"b":null}]}`, `{"Map":[]}`, `{"Map":{"a":1},"Map":{"b":2}}`, `{"Ratio":1.5,"Ratio":-0}`,
	`{"Ratio":"1"}`, `{"Ratio":1e999}`, `{"unknown":{"deep":[1,2,{"x":"y"}]},"id":3}`, `{"\u0069d":5}`, `{"i\u0064":5,"x\"":1}`,
	`{"word":"w","Hidden":"h","own":1,"-":2}`, `{"ok":1}`, `{"ok":truth}`, `{"K":1}`, `{"İD":1}`, `{"text":"\ud83d\ude00"}`,
	`{"id":1`, `{"id":1}}`, `{"id":1}x`, `{"id"}`, `{,}`, `{"id":1,}`, `{"A":1,"More":[{"A":2,"More":[]}]}`, `{"A":"5"}`,
}

func TestTypesAreReadAsEncodingJSONDoes(t *testing.T) {
	for _, text := range append(typedTexts, jsonTexts...) {
		check[sample](t, text)
		check[*sample](t, text)
		check[[]sample](t, "["+text+"]")
		check[itself](t, text)
		check[embedded](t, text)
		check[quoted](t, text)
		check[[]string](t, text)
		check[[]int](t, text)
		check[int32](t, text)
		check[uint16](t, text)
		check[float64](t, text)
		check[float32](t, text)
		check[string](t, text)
		check[bool](t, text)
		check[map[string]int](t, text)
	}
}

func TestPlainTypesHaveAPlanAndOthersHaveNone(t *testing.T) {
	if planOf(reflect.TypeFor[sample]()) == nil || planOf(reflect.TypeFor[[]*inner]()) == nil {
		t.Error("there is no plan")
	}
	for _, other := range []any{itself{}, embedded{}, quoted{}, loud{}, Payload{}, float32(1), [2]int{}, []byte{}} {
		if planOf(reflect.TypeOf(other)) != nil {
			t.Errorf("%T has a plan", other)
		}
	}
}

func TestTypesAreWrittenAsEncodingJSONDoes(t *testing.T) {
	n := &inner{N: -5, Next: &struct{ A, B uint16 }{1, 65535}}
	values := []any{
		sample{}, &sample{}, (*sample)(nil), []sample{}, []sample(nil), []sample{{ID: -1}, {OK: true}}, []*inner{nil, n}, *n,
		sample{ID: math.MinInt64, Text: "\n\xff", Tags: []string{"a", "grün"}, Ratio: 1e-9, Small: 255, Big: math.MaxUint64,
			Word: "w", Any: []any{1, nil}, Map: map[string]any{"b": 1, "a": n}, Items: []inner{*n, {}}, Pointer: n, own: 3},
		sample{Ratio: math.NaN()}, sample{Any: func() {}}, sample{Tags: []string{}, Any: itself{More: []itself{{A: 1}}}},
		itself{A: 1}, embedded{A: 2}, quoted{3}, loud{"a"}, []string{"a"}, []int{1, -2}, []float64{0.5}, [][]string{{"a"}, nil},
		map[string]int{"a": 1}, []byte("ab"), float32(0.1), uint8(7), word("w"),
	}
	for _, value := range values {
		own, ownErr := writeJSON(value)
		expected, err := json.Marshal(value)
		if (ownErr == nil) != (err == nil) || err == nil && string(own) != string(expected) {
			t.Errorf("%#v: %s, %v instead of %s, %v", value, own, ownErr, expected, err)
		}
	}
}

func BenchmarkRead(b *testing.B) {
	text := []byte(typedTexts[0])
	b.Run("own", func(b *testing.B) {
		for b.Loop() {
			var v sample
			_ = (Payload{JSONText, text}).read(&v)
		}
	})
	b.Run("encoding/json", func(b *testing.B) {
		for b.Loop() {
			var v sample
			_ = json.Unmarshal(text, &v)
		}
	})
}
