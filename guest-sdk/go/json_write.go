package isomer

import (
	"encoding/json"
	"math"
	"slices"
	"strconv"
	"unicode/utf8"
)

// Writing values without a type of their own as JSON; everything else is left to encoding/json, part by part. Keys
// are in order, as there. Only <, > and & are written as they are, which encoding/json does not, for pages of HTML.

// writeJSON is the JSON form of a value.
func writeJSON(v any) ([]byte, error) {
	switch v.(type) {
	case map[string]any, []any, string, float64, int, bool:
		return appendJSON(make([]byte, 0, 128), v, 0)
	}
	if text, known, err := writeTyped(v); known {
		return text, err
	}
	return json.Marshal(v)
}

func appendJSON(text []byte, v any, depth int) ([]byte, error) {
	switch v := v.(type) {
	case nil:
		return append(text, "null"...), nil
	case bool:
		return strconv.AppendBool(text, v), nil
	case int:
		return strconv.AppendInt(text, int64(v), 10), nil
	case float64:
		if whole := int64(v); float64(whole) == v && -1e15 < v && v < 1e15 && (whole != 0 || !math.Signbit(v)) {
			return strconv.AppendInt(text, whole, 10), nil
		}
	case string:
		if made, ok := appendText(text, v); ok {
			return made, nil
		}
	case map[string]any:
		// What contains itself ends in encoding/json, which says so.
		if v != nil && depth < jsonDepthMax {
			return appendObject(text, v, depth)
		}
	case []any:
		if v != nil && depth < jsonDepthMax {
			return appendArray(text, v, depth)
		}
	}
	made, err := json.Marshal(v)
	return append(text, made...), err
}

func appendObject(text []byte, v map[string]any, depth int) ([]byte, error) {
	var few [8]string
	keys := few[:0]
	for key := range v {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	var err error
	text = append(text, '{')
	for i, key := range keys {
		if i > 0 {
			text = append(text, ',')
		}
		if text, err = appendJSON(text, key, depth); err != nil {
			return nil, err
		}
		text = append(text, ':')
		if text, err = appendJSON(text, v[key], depth+1); err != nil {
			return nil, err
		}
	}
	return append(text, '}'), nil
}

func appendArray(text []byte, v []any, depth int) ([]byte, error) {
	var err error
	text = append(text, '[')
	for i, item := range v {
		if i > 0 {
			text = append(text, ',')
		}
		if text, err = appendJSON(text, item, depth+1); err != nil {
			return nil, err
		}
	}
	return append(text, ']'), nil
}

// appendText writes a text that is its own JSON form between quotes; false for one that is not.
func appendText(text []byte, v string) ([]byte, bool) {
	ascii := true
	for i := range len(v) {
		c := v[i]
		if c < ' ' || c == '"' || c == '\\' {
			return text, false
		}
		ascii = ascii && c < utf8.RuneSelf
	}
	if !ascii && !utf8.ValidString(v) {
		return text, false
	}
	return append(append(append(text, '"'), v...), '"'), true
}
