//go:build wasip1

package isomer

import (
	"os"
	"strings"
	"time"
	"unsafe"
)

// What the node writes into this component lies in the arena until it has been read. The node asks for room
// by cabi_realloc, in which nothing may be imported: Go's garbage collector asks for the time, so no memory of
// Go may be taken there, and no stack may grow. The arena is therefore its own memory, and what is in it is
// forgotten when an import has been read and when an export returns. What was asked for before this package
// was initialised (by the adapter that makes WASI 0.2 of what Go imports, for its own state) stays for ever.
var (
	first     [16 << 10]uint64
	arena     arenaState
	answer    [16]uint64
	exported  [16]uint64
	exporting any
)

type arenaState struct {
	base  unsafe.Pointer
	size  uintptr
	used  uintptr
	floor uintptr
}

func init() {
	// Makes the adapter ask for its state now, if it has not yet.
	_ = time.Now()
	_, _ = os.Stdout.Write(nil)
	arena.floor = arena.used
}

//go:linkname sbrk runtime.sbrk
func sbrk(n uintptr) unsafe.Pointer

//go:wasmexport cabi_realloc
//go:nosplit
func cabiRealloc(old unsafe.Pointer, oldSize, align, size uintptr) unsafe.Pointer {
	if arena.base == nil {
		// Here and not where it is declared: the node asks before variables of this package are set.
		arena.base, arena.size = unsafe.Pointer(&first), unsafe.Sizeof(first)
	}
	start := (arena.used + 7) &^ 7
	if start+size > arena.size {
		room := 2 * arena.size
		for room < size {
			room *= 2
		}
		base := sbrk(room)
		if base == nil {
			return nil
		}
		arena.base, arena.size, arena.floor, start = base, room, 0, 0
	}
	arena.used = start + size
	return unsafe.Add(arena.base, start)
}

// at is a place in linear memory.
func at(p uint32) unsafe.Pointer { return unsafe.Pointer(uintptr(p)) }

func u32(base unsafe.Pointer, offset uintptr) uint32 { return *(*uint32)(unsafe.Add(base, offset)) }

func flag(base unsafe.Pointer, offset uintptr) bool {
	return *(*uint8)(unsafe.Add(base, offset)) != 0
}

// text copies a string out of the arena.
func text(p, n uint32) string {
	if n == 0 {
		return ""
	}
	return strings.Clone(unsafe.String((*byte)(at(p)), n))
}

// view is what lies in the arena; valid until it is forgotten.
func view(p, n uint32) []byte {
	if n == 0 {
		return []byte{}
	}
	return unsafe.Slice((*byte)(at(p)), n)
}

func copied(p, n uint32) []byte { return append([]byte{}, view(p, n)...) }

func textAt(base unsafe.Pointer, offset uintptr) string {
	return text(u32(base, offset), u32(base, offset+4))
}

func optionTextAt(base unsafe.Pointer, offset uintptr) string {
	if !flag(base, offset) {
		return ""
	}
	return textAt(base, offset+4)
}

func optionBytesAt(base unsafe.Pointer, offset uintptr) []byte {
	if !flag(base, offset) {
		return nil
	}
	return copied(u32(base, offset+4), u32(base, offset+8))
}

// payloadAt reads a payload: kind, pointer, length.
func payloadAt(base unsafe.Pointer, offset uintptr) Payload {
	kind := Kind(*(*uint8)(unsafe.Add(base, offset)))
	if kind == Absent {
		return Payload{}
	}
	return Payload{kind, copied(u32(base, offset+4), u32(base, offset+8))}
}

// failureAt reads a record failure of 76 bytes.
func failureAt(base unsafe.Pointer, offset uintptr) *Error {
	p := unsafe.Add(base, offset)
	made := &Error{Name: textAt(p, 0), Message: textAt(p, 8), Type: optionTextAt(p, 24), Retryable: flag(p, 36)}
	if flag(p, 16) {
		code := u32(p, 20)
		made.Code = &code
	}
	made.Data, made.Stack, made.Extra = optionBytesAt(p, 40), optionTextAt(p, 52), optionBytesAt(p, 64)
	return made
}

func put32(base unsafe.Pointer, offset uintptr, value uint32) {
	*(*uint32)(unsafe.Add(base, offset)) = value
}

func putFlag(base unsafe.Pointer, offset uintptr, value bool) {
	*(*uint8)(unsafe.Add(base, offset)) = 0
	if value {
		*(*uint8)(unsafe.Add(base, offset)) = 1
	}
}

func pointer(data []byte) uint32 { return uint32(uintptr(unsafe.Pointer(unsafe.SliceData(data)))) }

func textPointer(text string) uint32 {
	return uint32(uintptr(unsafe.Pointer(unsafe.StringData(text))))
}

func putText(base unsafe.Pointer, offset uintptr, text string) {
	put32(base, offset, textPointer(text))
	put32(base, offset+4, uint32(len(text)))
}

func putOptionText(base unsafe.Pointer, offset uintptr, text string) {
	putFlag(base, offset, text != "")
	putText(base, offset+4, text)
}

func putOptionBytes(base unsafe.Pointer, offset uintptr, data []byte) {
	putFlag(base, offset, data != nil)
	put32(base, offset+4, pointer(data))
	put32(base, offset+8, uint32(len(data)))
}

func putPayload(base unsafe.Pointer, offset uintptr, payload Payload) {
	*(*uint8)(unsafe.Add(base, offset)) = uint8(payload.Kind)
	put32(base, offset+4, pointer(payload.Data))
	put32(base, offset+8, uint32(len(payload.Data)))
}

// putFailure writes a record failure; the texts of e have to stay where they are until it is read.
func putFailure(base unsafe.Pointer, offset uintptr, e *Error) {
	p := unsafe.Add(base, offset)
	putText(p, 0, e.Name)
	putText(p, 8, e.Message)
	putFlag(p, 16, e.Code != nil)
	if e.Code != nil {
		put32(p, 20, *e.Code)
	}
	putOptionText(p, 24, e.Type)
	putFlag(p, 36, e.Retryable)
	putOptionBytes(p, 40, e.Data)
	putOptionText(p, 52, e.Stack)
	putOptionBytes(p, 64, e.Extra)
}

// valid makes an error that can cross: text is UTF-8 at the boundary.
func valid(e *Error) *Error {
	fixed := *e
	for _, text := range []*string{&fixed.Name, &fixed.Message, &fixed.Type, &fixed.Stack} {
		*text = strings.ToValidUTF8(*text, "\uFFFD")
	}
	return &fixed
}

// mark is how much of the arena was in use before an import.
type mark struct {
	base unsafe.Pointer
	used uintptr
}

func marked() mark { return mark{arena.base, arena.used} }

// forget gives back what an import has written. When the arena has grown, all that is in use is in the old one.
func (m mark) forget() {
	arena.used = arena.floor
	if m.base == arena.base {
		arena.used = m.used
	}
}

func area() unsafe.Pointer { return unsafe.Pointer(&answer) }
