package isomer

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
)

// Kind says what a Payload is.
type Kind uint8

const (
	// Absent is no value: JavaScript's undefined. As params of a call it arrives as {}.
	Absent Kind = iota
	// JSONText is one JSON text.
	JSONText
	// RawBytes are bytes as they are: a Buffer of Node.js.
	RawBytes
)

// Payload is what travels in calls and events, not yet read. As params or result of a handler it is passed on
// untouched.
type Payload struct {
	Kind Kind
	Data []byte
}

// None stands for no params and for no result.
type None struct{}

// JSON is JSON text that is passed on as it is. The node refuses text that is no JSON.
type JSON string

// Into reads the value into what v points to. An absent one leaves it as it is.
func (p Payload) Into(v any) error { return p.read(v) }

// String shows the payload, for logs.
func (p Payload) String() string {
	switch p.Kind {
	case JSONText:
		return string(p.Data)
	case RawBytes:
		return fmt.Sprintf("%d bytes", len(p.Data))
	default:
		return "absent"
	}
}

// MarshalJSON makes a payload a part of another value; bytes get the JSON form of a Buffer.
func (p Payload) MarshalJSON() ([]byte, error) {
	switch p.Kind {
	case JSONText:
		return p.Data, nil
	case RawBytes:
		return buffer(p.Data), nil
	default:
		return []byte("null"), nil
	}
}

// UnmarshalJSON keeps the text.
func (p *Payload) UnmarshalJSON(text []byte) error {
	*p = Payload{JSONText, append([]byte(nil), text...)}
	return nil
}

// NewPayload writes a value: None and nil pointers to it are absent, []byte are bytes, a Payload is itself,
// and everything else is JSON.
func NewPayload(v any) (Payload, error) {
	switch v := v.(type) {
	case Payload:
		return v, nil
	case *Payload:
		return *v, nil
	case None:
		return Payload{}, nil
	case JSON:
		return Payload{JSONText, []byte(v)}, nil
	case json.RawMessage:
		return Payload{JSONText, v}, nil
	case []byte:
		return Payload{RawBytes, v}, nil
	case nil:
		return Payload{JSONText, []byte("null")}, nil
	}
	text, err := writeJSON(v)
	return Payload{JSONText, text}, err
}

// read reads the value; p.Data may belong to the boundary, so that whoever keeps it makes a copy.
func (p Payload) read(v any) error {
	switch v := v.(type) {
	case *Payload:
		*v = Payload{p.Kind, append([]byte(nil), p.Data...)}
		return nil
	case *JSON:
		*v = JSON(p.String())
		if p.Kind != JSONText {
			*v = "null"
		}
		return nil
	case *None:
		return nil
	case *[]byte:
		if p.Kind == RawBytes {
			*v = append([]byte{}, p.Data...)
			return nil
		}
		if p.Kind == JSONText {
			return readBuffer(p.Data, v)
		}
		return nil
	}
	switch p.Kind {
	case JSONText:
		if readGeneric(p.Data, v) || readTyped(p.Data, v) {
			return nil
		}
		return json.Unmarshal(p.Data, v)
	case RawBytes:
		if anything, ok := v.(*any); ok {
			*anything = append([]byte{}, p.Data...)
			return nil
		}
		return json.Unmarshal(buffer(p.Data), v)
	default:
		return nil
	}
}

// buffer is the JSON form of a Buffer of Node.js.
func buffer(data []byte) []byte {
	text := []byte(`{"type":"Buffer","data":[`)
	for i, b := range data {
		if i > 0 {
			text = append(text, ',')
		}
		text = strconv.AppendUint(text, uint64(b), 10)
	}
	return append(text, ']', '}')
}

func readBuffer(text []byte, v *[]byte) error {
	var form struct {
		Type string `json:"type"`
		Data []int  `json:"data"`
	}
	if err := json.Unmarshal(text, &form); err != nil || form.Type != "Buffer" {
		return errors.New("bytes are expected")
	}
	made := make([]byte, len(form.Data))
	for i, b := range form.Data {
		made[i] = byte(b)
	}
	*v = made
	return nil
}
