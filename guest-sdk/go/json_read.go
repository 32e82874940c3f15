package isomer

import (
	"math"
	"strconv"
	"unicode/utf8"
	"unsafe"
)

// Reading JSON text into values without a type of their own: any, map[string]any, []any. It takes a fifth of what
// package encoding/json takes for the same, which counts in WebAssembly. What is rare (escapes beyond the simple
// ones, deep nesting, text that is no JSON) is left to encoding/json, with its results and its errors.

// jsonDepthMax is how deep values are nested that are read here.
const jsonDepthMax = 200

// readGeneric reads text into what v points to, when that is empty and of a type that is known here; false when
// somebody else has to.
func readGeneric(text []byte, v any) bool {
	switch v := v.(type) {
	case *any:
		if *v != nil {
			return false
		}
		value, ok := readWhole(text)
		if ok {
			*v = value
		}
		return ok
	case *map[string]any:
		if *v != nil {
			return false
		}
		value, ok := readWhole(text)
		if !ok {
			return false
		}
		made, ok := value.(map[string]any)
		if ok {
			*v = made
		}
		return ok || value == nil
	case *[]any:
		if *v != nil {
			return false
		}
		value, ok := readWhole(text)
		if !ok {
			return false
		}
		made, ok := value.([]any)
		if ok {
			*v = made
		}
		return ok || value == nil
	default:
		return false
	}
}

func readWhole(text []byte) (any, bool) {
	r := jsonReader{text: text}
	value := r.value(0)
	r.space()
	return value, !r.failed && r.at == len(text)
}

// jsonReader stands in a text; failed is for ever.
type jsonReader struct {
	text   []byte
	at     int
	failed bool
}

func (r *jsonReader) fail() any {
	r.failed = true
	return nil
}

func (r *jsonReader) space() {
	for r.at < len(r.text) {
		switch r.text[r.at] {
		case ' ', '\t', '\n', '\r':
			r.at++
		default:
			return
		}
	}
}

// next is the first byte that is no space; 0 at the end.
func (r *jsonReader) next() byte {
	r.space()
	if r.at >= len(r.text) {
		return 0
	}
	return r.text[r.at]
}

func (r *jsonReader) value(depth int) any {
	if depth > jsonDepthMax {
		return r.fail()
	}
	switch c := r.next(); {
	case c == '"':
		return r.string()
	case c == '{':
		return r.object(depth)
	case c == '[':
		return r.array(depth)
	case c == '-' || '0' <= c && c <= '9':
		return r.number()
	case c == 't':
		return r.word("true", true)
	case c == 'f':
		return r.word("false", false)
	case c == 'n':
		return r.word("null", nil)
	default:
		return r.fail()
	}
}

func (r *jsonReader) word(word string, value any) any {
	if len(r.text)-r.at < len(word) || string(r.text[r.at:r.at+len(word)]) != word {
		return r.fail()
	}
	r.at += len(word)
	return value
}

func (r *jsonReader) object(depth int) any {
	r.at++
	made := map[string]any{}
	if r.next() == '}' {
		r.at++
		return made
	}
	for !r.failed {
		if r.next() != '"' {
			return r.fail()
		}
		key := r.string()
		if r.next() != ':' {
			return r.fail()
		}
		r.at++
		made[key] = r.value(depth + 1)
		switch r.next() {
		case ',':
			r.at++
		case '}':
			r.at++
			return made
		default:
			return r.fail()
		}
	}
	return nil
}

func (r *jsonReader) array(depth int) any {
	r.at++
	made := []any{}
	if r.next() == ']' {
		r.at++
		return made
	}
	for !r.failed {
		made = append(made, r.value(depth+1))
		switch r.next() {
		case ',':
			r.at++
		case ']':
			r.at++
			return made
		default:
			return r.fail()
		}
	}
	return nil
}

// string reads a text whose quote is next.
func (r *jsonReader) string() string {
	start := r.at + 1
	ascii := true
	for i := start; i < len(r.text); i++ {
		switch c := r.text[i]; {
		case c == '"':
			r.at = i + 1
			found := r.text[start:i]
			if !ascii && !utf8.Valid(found) {
				r.failed = true
			}
			return string(found)
		case c == '\\':
			return r.escaped(start, i)
		case c < ' ':
			r.failed = true
			return ""
		case c >= utf8.RuneSelf:
			ascii = false
		}
	}
	r.failed = true
	return ""
}

// escaped reads a text with escapes, the first of which is at i.
func (r *jsonReader) escaped(start, i int) string {
	made := append(make([]byte, 0, i-start+16), r.text[start:i]...)
	for i < len(r.text) {
		c := r.text[i]
		switch {
		case c == '"':
			r.at = i + 1
			if !utf8.Valid(made) {
				r.failed = true
			}
			return string(made)
		case c < ' ':
			r.failed = true
			return ""
		case c != '\\':
			made = append(made, c)
			i++
			continue
		}
		if i+1 >= len(r.text) {
			break
		}
		plain, known := unescaped(r.text[i+1])
		if !known {
			// Also \u, with its pairs and its halves.
			break
		}
		made = append(made, plain)
		i += 2
	}
	r.failed = true
	return ""
}

// unescaped is what stands for the byte after a backslash.
func unescaped(c byte) (byte, bool) {
	switch c {
	case '"', '\\', '/':
		return c, true
	case 'b':
		return '\b', true
	case 'f':
		return '\f', true
	case 'n':
		return '\n', true
	case 'r':
		return '\r', true
	case 't':
		return '\t', true
	default:
		return 0, false
	}
}

// number reads what begins with a digit or a minus.
func (r *jsonReader) number() float64 {
	start := r.at
	negative := r.text[start] == '-'
	i := start
	if negative {
		i++
	}
	digits := i
	var whole int64
	for ; i < len(r.text) && '0' <= r.text[i] && r.text[i] <= '9'; i++ {
		whole = whole*10 + int64(r.text[i]-'0')
		if i-digits > 15 {
			return r.longNumber(start)
		}
	}
	if i == digits || r.text[digits] == '0' && i > digits+1 {
		r.failed = true
		return 0
	}
	if i < len(r.text) && (r.text[i] == '.' || r.text[i] == 'e' || r.text[i] == 'E') {
		return r.longNumber(start)
	}
	r.at = i
	if !negative {
		return float64(whole)
	}
	if whole == 0 {
		return math.Copysign(0, -1)
	}
	return float64(-whole)
}

// longNumber reads a number with many digits, a fraction or an exponent.
func (r *jsonReader) longNumber(start int) float64 {
	i := start
	for i < len(r.text) {
		c := r.text[i]
		if ('0' > c || c > '9') && c != '-' && c != '+' && c != '.' && c != 'e' && c != 'E' {
			break
		}
		i++
	}
	found := r.text[start:i]
	if !isNumber(found) {
		r.failed = true
		return 0
	}
	value, err := strconv.ParseFloat(unsafe.String(unsafe.SliceData(found), len(found)), 64)
	if err != nil {
		r.failed = true
		return 0
	}
	r.at = i
	return value
}

// isNumber says whether a text is a number as JSON has them: package strconv takes more.
func isNumber(text []byte) bool {
	i := 0
	digits := func() bool {
		start := i
		for i < len(text) && '0' <= text[i] && text[i] <= '9' {
			i++
		}
		return i > start
	}
	if i < len(text) && text[i] == '-' {
		i++
	}
	first := i
	if !digits() || text[first] == '0' && i > first+1 {
		return false
	}
	if i < len(text) && text[i] == '.' {
		if i++; !digits() {
			return false
		}
	}
	if i < len(text) && (text[i] == 'e' || text[i] == 'E') {
		if i++; i < len(text) && (text[i] == '+' || text[i] == '-') {
			i++
		}
		if !digits() {
			return false
		}
	}
	return i == len(text)
}
