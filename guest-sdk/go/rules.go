package isomer

import (
	"encoding/json"
	"reflect"
	"strconv"
	"strings"
	"time"
)

// rulesOf is the schema of params that a type says, for fastest-validator; nil when it says none.
//
// A field has the name of its tag json. The tag isomer adds to its rule: `isomer:"min=3,max=10,positive"`;
// optional are pointers, fields with omitempty or omitzero, and those that say so.
func rulesOf(t reflect.Type) map[string]any {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if t.Kind() != reflect.Struct || t == reflect.TypeFor[None]() || isWhole(t) {
		return nil
	}
	rules := map[string]any{}
	fieldsOf(t, rules, 0)
	if len(rules) == 0 {
		return nil
	}
	return rules
}

// depthMax ends types that contain themselves.
const depthMax = 8

func isWhole(t reflect.Type) bool {
	return t == reflect.TypeFor[Payload]() || t == reflect.TypeFor[time.Time]() ||
		t.Implements(reflect.TypeFor[json.Unmarshaler]()) ||
		reflect.PointerTo(t).Implements(reflect.TypeFor[json.Unmarshaler]())
}

func fieldsOf(t reflect.Type, rules map[string]any, depth int) {
	for i := range t.NumField() {
		field := t.Field(i)
		name, options, _ := strings.Cut(field.Tag.Get("json"), ",")
		if field.Anonymous && name == "" && field.Type.Kind() == reflect.Struct {
			fieldsOf(field.Type, rules, depth)
			continue
		}
		if !field.IsExported() || name == "-" {
			continue
		}
		if name == "" {
			name = field.Name
		}
		rule := ruleOf(field.Type, depth+1)
		if strings.Contains(options, "omitempty") || strings.Contains(options, "omitzero") {
			rule["optional"] = true
		}
		tagged(rule, field.Tag.Get("isomer"))
		rules[name] = rule
	}
}

// tagged puts what a tag says into a rule.
func tagged(rule map[string]any, tag string) {
	for part := range strings.SplitSeq(tag, ",") {
		key, value, given := strings.Cut(strings.TrimSpace(part), "=")
		switch {
		case key == "":
		case !given:
			rule[key] = true
		case key == "values" || key == "enum":
			rule["type"], rule["values"] = "enum", strings.Split(value, "|")
		default:
			rule[key] = scalar(value)
		}
	}
}

func scalar(text string) any {
	if number, err := strconv.ParseFloat(text, 64); err == nil {
		return number
	}
	if truth, err := strconv.ParseBool(text); err == nil {
		return truth
	}
	return text
}

func ruleOf(t reflect.Type, depth int) map[string]any {
	if t.Kind() == reflect.Pointer {
		rule := ruleOf(t.Elem(), depth)
		rule["optional"], rule["nullable"] = true, true
		return rule
	}
	if depth > depthMax || isWhole(t) {
		return map[string]any{"type": "any"}
	}
	switch t.Kind() {
	case reflect.Bool:
		return map[string]any{"type": "boolean"}
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return map[string]any{"type": "number", "integer": true}
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return map[string]any{"type": "number", "integer": true, "min": 0}
	case reflect.Float32, reflect.Float64:
		return map[string]any{"type": "number"}
	case reflect.String:
		return map[string]any{"type": "string"}
	case reflect.Slice, reflect.Array:
		if t.Elem().Kind() == reflect.Uint8 {
			return map[string]any{"type": "any"}
		}
		return map[string]any{"type": "array", "items": ruleOf(t.Elem(), depth+1)}
	case reflect.Map:
		return map[string]any{"type": "object"}
	case reflect.Struct:
		props := map[string]any{}
		fieldsOf(t, props, depth)
		return map[string]any{"type": "object", "props": props}
	default:
		return map[string]any{"type": "any"}
	}
}
