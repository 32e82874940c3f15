package isomer

import (
	"bytes"
	"encoding"
	"encoding/json"
	"reflect"
	"strconv"
	"strings"
	"sync"
	"unicode/utf8"
	"unsafe"
)

// Reading JSON text into structs and writing them, by a plan that is made once for each type. Types with anything
// beyond plain fields (methods of their own for JSON, embedded structs, options of tags, bytes, types that contain
// themselves) have none, and are left to encoding/json, as all text is that it does not fit.

// typePlan is how values of a type lie in memory.
type typePlan struct {
	kind   reflect.Kind
	typ    reflect.Type
	bits   int
	fields []fieldPlan
	elem   *typePlan
}

type fieldPlan struct {
	name string
	// The name as it is written: quoted, with its colon.
	quoted    string
	offset    uintptr
	omitEmpty bool
	plan      *typePlan
}

var (
	plans     = map[reflect.Type]*typePlan{}
	plansLock sync.Mutex
)

// planOf is the plan of a type; nil when it has none.
func planOf(t reflect.Type) *typePlan {
	plansLock.Lock()
	defer plansLock.Unlock()
	return planIn(t, 0)
}

func planIn(t reflect.Type, depth int) *typePlan {
	if plan, known := plans[t]; known {
		return plan
	}
	// A type that contains itself finds none for its inner one, and so has none.
	plans[t] = nil
	plan := planned(t, depth)
	plans[t] = plan
	return plan
}

var ownForms = []reflect.Type{
	reflect.TypeFor[json.Marshaler](), reflect.TypeFor[json.Unmarshaler](),
	reflect.TypeFor[encoding.TextMarshaler](), reflect.TypeFor[encoding.TextUnmarshaler](),
}

func planned(t reflect.Type, depth int) *typePlan {
	if depth > depthMax {
		return nil
	}
	for _, form := range ownForms {
		if t.Implements(form) || reflect.PointerTo(t).Implements(form) {
			return nil
		}
	}
	plan := &typePlan{kind: t.Kind(), typ: t}
	switch t.Kind() {
	case reflect.Bool, reflect.String, reflect.Float64:
		return plan
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64,
		reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		plan.bits = t.Bits()
		return plan
	case reflect.Interface:
		if t == reflect.TypeFor[any]() {
			return plan
		}
	case reflect.Slice:
		// Bytes are a text in JSON.
		if t.Elem().Kind() == reflect.Uint8 {
			return nil
		}
		if plan.elem = planIn(t.Elem(), depth+1); plan.elem != nil {
			return plan
		}
	case reflect.Pointer:
		if plan.elem = planIn(t.Elem(), depth+1); plan.elem != nil {
			return plan
		}
	case reflect.Map:
		if t == reflect.TypeFor[map[string]any]() {
			return plan
		}
	case reflect.Struct:
		return plannedStruct(plan, depth)
	}
	return nil
}

func plannedStruct(plan *typePlan, depth int) *typePlan {
	for i := range plan.typ.NumField() {
		field := plan.typ.Field(i)
		tag := field.Tag.Get("json")
		if field.Anonymous {
			return nil
		}
		if !field.IsExported() || tag == "-" {
			continue
		}
		name, options, _ := strings.Cut(tag, ",")
		if name == "" {
			name = field.Name
		}
		inner := planIn(field.Type, depth+1)
		if inner == nil || !isPlainName(name) || options != "" && options != "omitempty" {
			return nil
		}
		for _, other := range plan.fields {
			if strings.EqualFold(other.name, name) {
				return nil
			}
		}
		plan.fields = append(plan.fields, fieldPlan{
			name: name, quoted: `"` + name + `":`, offset: field.Offset, omitEmpty: options != "", plan: inner,
		})
	}
	return plan
}

func isPlainName(name string) bool {
	for i := range len(name) {
		c := name[i]
		if (c < 'a' || 'z' < c) && (c < 'A' || 'Z' < c) && (c < '0' || '9' < c) && c != '_' && c != '-' {
			return false
		}
	}
	return true
}

// readTyped reads text into what v points to, when that is empty and its type has a plan; else nothing is changed.
func readTyped(text []byte, v any) bool {
	value := reflect.ValueOf(v)
	if value.Kind() != reflect.Pointer || value.IsNil() {
		return false
	}
	plan := planOf(value.Type().Elem())
	if plan == nil || !value.Elem().IsZero() {
		return false
	}
	r := jsonReader{text: text}
	plan.read(&r, value.UnsafePointer(), 0)
	r.space()
	if r.failed || r.at != len(text) {
		value.Elem().SetZero()
		return false
	}
	return true
}

func (plan *typePlan) read(r *jsonReader, p unsafe.Pointer, depth int) {
	if depth > jsonDepthMax {
		r.failed = true
		return
	}
	if r.next() == 'n' {
		// null makes nothing of what can be nothing, and leaves everything else as it is.
		r.word("null", nil)
		switch plan.kind {
		case reflect.Interface, reflect.Slice, reflect.Pointer, reflect.Map:
			reflect.NewAt(plan.typ, p).Elem().SetZero()
		}
		return
	}
	switch plan.kind {
	case reflect.Bool:
		if r.next() == 't' {
			r.word("true", nil)
			*(*bool)(p) = true
		} else {
			r.word("false", nil)
			*(*bool)(p) = false
		}
	case reflect.String:
		if r.next() != '"' {
			r.failed = true
			return
		}
		*(*string)(p) = r.string()
	case reflect.Float64:
		if c := r.next(); c != '-' && (c < '0' || '9' < c) {
			r.failed = true
			return
		}
		*(*float64)(p) = r.number()
	case reflect.Interface:
		*(*any)(p) = r.value(depth)
	case reflect.Map:
		if *(*map[string]any)(p) != nil || r.next() != '{' {
			r.failed = true
			return
		}
		*(*map[string]any)(p), _ = r.object(depth).(map[string]any)
	case reflect.Pointer:
		inner := *(*unsafe.Pointer)(p)
		if inner == nil {
			inner = reflect.New(plan.elem.typ).UnsafePointer()
			*(*unsafe.Pointer)(p) = inner
		}
		plan.elem.read(r, inner, depth+1)
	case reflect.Slice:
		plan.readSlice(r, p, depth)
	case reflect.Struct:
		plan.readStruct(r, p, depth)
	default:
		plan.readInteger(r, p)
	}
}

func (plan *typePlan) readInteger(r *jsonReader, p unsafe.Pointer) {
	negative := r.next() == '-'
	if negative {
		r.at++
	}
	start := r.at
	var whole int64
	for ; r.at < len(r.text) && '0' <= r.text[r.at] && r.text[r.at] <= '9'; r.at++ {
		whole = whole*10 + int64(r.text[r.at]-'0')
	}
	n := r.at - start
	if n == 0 || n > 18 || n > 1 && r.text[start] == '0' {
		r.failed = true
		return
	}
	if r.at < len(r.text) && (r.text[r.at] == '.' || r.text[r.at] == 'e' || r.text[r.at] == 'E') {
		r.failed = true
		return
	}
	if negative {
		whole = -whole
	}
	signed := plan.kind <= reflect.Int64
	fits := signed && whole>>(plan.bits-1) == whole>>63 ||
		!signed && !negative && (plan.bits == 64 || whole>>plan.bits == 0)
	if !fits {
		r.failed = true
		return
	}
	switch plan.bits {
	case 8:
		*(*int8)(p) = int8(whole)
	case 16:
		*(*int16)(p) = int16(whole)
	case 32:
		*(*int32)(p) = int32(whole)
	default:
		*(*int64)(p) = whole
	}
}

func (plan *typePlan) readSlice(r *jsonReader, p unsafe.Pointer, depth int) {
	slice := reflect.NewAt(plan.typ, p).Elem()
	if !slice.IsNil() || r.next() != '[' {
		r.failed = true
		return
	}
	r.at++
	slice.Set(reflect.MakeSlice(plan.typ, 0, 4))
	if r.next() == ']' {
		r.at++
		return
	}
	for n := 0; !r.failed; n++ {
		if n == slice.Cap() {
			slice.Grow(n)
		}
		slice.SetLen(n + 1)
		plan.elem.read(r, slice.Index(n).Addr().UnsafePointer(), depth+1)
		switch r.next() {
		case ',':
			r.at++
		case ']':
			r.at++
			return
		default:
			r.failed = true
		}
	}
}

func (plan *typePlan) readStruct(r *jsonReader, p unsafe.Pointer, depth int) {
	if r.next() != '{' {
		r.failed = true
		return
	}
	r.at++
	if r.next() == '}' {
		r.at++
		return
	}
	for !r.failed {
		field := plan.field(r)
		if r.failed || r.next() != ':' {
			r.failed = true
			return
		}
		r.at++
		if field == nil {
			r.value(depth + 1)
		} else {
			field.plan.read(r, unsafe.Add(p, field.offset), depth+1)
		}
		switch r.next() {
		case ',':
			r.at++
		case '}':
			r.at++
			return
		default:
			r.failed = true
		}
	}
}

// field reads a key and finds its field; nil when there is none.
func (plan *typePlan) field(r *jsonReader) *fieldPlan {
	if r.next() != '"' {
		r.failed = true
		return nil
	}
	start := r.at + 1
	n := bytes.IndexByte(r.text[start:], '"')
	if n < 0 {
		r.failed = true
		return nil
	}
	key := r.text[start : start+n]
	r.at = start + n + 1
	for i := range plan.fields {
		if string(key) == plan.fields[i].name {
			return &plan.fields[i]
		}
	}
	for _, c := range key {
		// An escape, a mistake, or a letter that may be another case of one in ASCII.
		if c == '\\' || c < ' ' || c >= utf8.RuneSelf {
			r.failed = true
			return nil
		}
	}
	for i := range plan.fields {
		if len(key) == len(plan.fields[i].name) && strings.EqualFold(string(key), plan.fields[i].name) {
			return &plan.fields[i]
		}
	}
	return nil
}

// writeTyped writes a struct, or what points to one or has them as its items, when its type has a plan.
func writeTyped(v any) ([]byte, bool, error) {
	value := reflect.ValueOf(v)
	switch value.Kind() {
	case reflect.Struct, reflect.Pointer, reflect.Slice:
	default:
		return nil, false, nil
	}
	plan := planOf(value.Type())
	if plan == nil {
		return nil, false, nil
	}
	place := reflect.New(value.Type())
	place.Elem().Set(value)
	text, err := plan.write(make([]byte, 0, 128), place.UnsafePointer(), 0)
	return text, true, err
}

func (plan *typePlan) write(text []byte, p unsafe.Pointer, depth int) ([]byte, error) {
	switch plan.kind {
	case reflect.Bool:
		return strconv.AppendBool(text, *(*bool)(p)), nil
	case reflect.String:
		return appendJSON(text, *(*string)(p), depth)
	case reflect.Float64:
		return appendJSON(text, *(*float64)(p), depth)
	case reflect.Interface:
		return appendJSON(text, *(*any)(p), depth)
	case reflect.Map:
		return appendJSON(text, *(*map[string]any)(p), depth)
	case reflect.Pointer:
		inner := *(*unsafe.Pointer)(p)
		if inner == nil {
			return append(text, "null"...), nil
		}
		return plan.elem.write(text, inner, depth+1)
	case reflect.Slice:
		return plan.writeSlice(text, p, depth)
	case reflect.Struct:
		return plan.writeStruct(text, p, depth)
	default:
		return plan.writeInteger(text, p), nil
	}
}

func (plan *typePlan) writeInteger(text []byte, p unsafe.Pointer) []byte {
	if plan.kind > reflect.Int64 {
		switch plan.bits {
		case 8:
			return strconv.AppendUint(text, uint64(*(*uint8)(p)), 10)
		case 16:
			return strconv.AppendUint(text, uint64(*(*uint16)(p)), 10)
		case 32:
			return strconv.AppendUint(text, uint64(*(*uint32)(p)), 10)
		}
		return strconv.AppendUint(text, *(*uint64)(p), 10)
	}
	switch plan.bits {
	case 8:
		return strconv.AppendInt(text, int64(*(*int8)(p)), 10)
	case 16:
		return strconv.AppendInt(text, int64(*(*int16)(p)), 10)
	case 32:
		return strconv.AppendInt(text, int64(*(*int32)(p)), 10)
	}
	return strconv.AppendInt(text, *(*int64)(p), 10)
}

func (plan *typePlan) writeSlice(text []byte, p unsafe.Pointer, depth int) ([]byte, error) {
	slice := reflect.NewAt(plan.typ, p).Elem()
	if slice.IsNil() {
		return append(text, "null"...), nil
	}
	var err error
	text = append(text, '[')
	for i := range slice.Len() {
		if i > 0 {
			text = append(text, ',')
		}
		if text, err = plan.elem.write(text, slice.Index(i).Addr().UnsafePointer(), depth+1); err != nil {
			return nil, err
		}
	}
	return append(text, ']'), nil
}

func (plan *typePlan) writeStruct(text []byte, p unsafe.Pointer, depth int) ([]byte, error) {
	var err error
	text = append(text, '{')
	first := true
	for i := range plan.fields {
		field := &plan.fields[i]
		at := unsafe.Add(p, field.offset)
		if field.omitEmpty && field.plan.isEmpty(at) {
			continue
		}
		if !first {
			text = append(text, ',')
		}
		first = false
		text = append(text, field.quoted...)
		if text, err = field.plan.write(text, at, depth+1); err != nil {
			return nil, err
		}
	}
	return append(text, '}'), nil
}

// isEmpty is what the option omitempty asks.
func (plan *typePlan) isEmpty(p unsafe.Pointer) bool {
	value := reflect.NewAt(plan.typ, p).Elem()
	switch plan.kind {
	case reflect.Struct:
		return false
	case reflect.Slice, reflect.Map:
		return value.Len() == 0
	default:
		return value.IsZero()
	}
}
