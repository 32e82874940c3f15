package isomer

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"runtime/debug"
)

// stackMax is how many bytes of a stack are sent.
const stackMax = 8000

// Error has the fields of a Moleculer error. One that came from another service, whatever its language or
// node, keeps all of them, so that returning it passes it on unchanged. Every other error that a handler
// returns becomes one with the name MoleculerError and the code 500.
type Error struct {
	// Name is the class by which JavaScript callers restore the error.
	Name string
	// Message is one sentence for a person.
	Message string
	// Code is by convention HTTP's; nil for errors that carry no number.
	Code *uint32
	// Type is a word for programs, such as NOT_FOUND; it may be empty.
	Type string
	// Retryable says whether the same call may succeed when it is tried again.
	Retryable bool
	// Data is what else the caller should know, as JSON text; nil when there is nothing.
	Data json.RawMessage
	// Stack is where it happened, as text with lines, when the origin told.
	Stack string
	// Extra has further fields (such as nodeID) as the text of one JSON object.
	Extra json.RawMessage
}

// NewError makes an error of the class MoleculerError.
func NewError(code uint32, kind, message string) *Error {
	return &Error{Name: "MoleculerError", Message: message, Code: &code, Type: kind}
}

// ClientError makes a MoleculerClientError: the caller did something wrong.
func ClientError(code uint32, kind, message string) *Error {
	return NewError(code, kind, message).Named("MoleculerClientError")
}

// ServerError makes a MoleculerServerError: the service failed, and the same call may succeed later.
func ServerError(code uint32, kind, message string) *Error {
	return NewError(code, kind, message).Named("MoleculerServerError").Again(true)
}

// ValidationError makes a ValidationError (422): the params do not fit.
func ValidationError(message string) *Error {
	return NewError(422, "VALIDATION_ERROR", message).Named("ValidationError")
}

// Named changes the class name.
func (e *Error) Named(name string) *Error { e.Name = name; return e }

// Again says whether the same call may succeed when it is tried again.
func (e *Error) Again(retryable bool) *Error { e.Retryable = retryable; return e }

// With attaches what else the caller should know. What has no JSON form is left out.
func (e *Error) With(data any) *Error {
	if text, err := json.Marshal(data); err == nil {
		e.Data = text
	}
	return e
}

// Error is the message and the type.
func (e *Error) Error() string {
	if e.Type == "" {
		return e.Message
	}
	return e.Message + " (" + e.Type + ")"
}

// CodeOr gives the code, or another number when there is none.
func (e *Error) CodeOr(other uint32) uint32 {
	if e.Code == nil {
		return other
	}
	return *e.Code
}

// Is makes errors.Is compare by type: errors.Is(err, &isomer.Error{Type: "NOT_FOUND"}).
func (e *Error) Is(target error) bool {
	other, ok := target.(*Error)
	return ok && other.Type != "" && other.Type == e.Type
}

// MarshalJSON is the form that the error has on the wire.
func (e *Error) MarshalJSON() ([]byte, error) {
	fields := map[string]any{}
	if len(e.Extra) > 0 {
		_ = json.Unmarshal(e.Extra, &fields)
	}
	fields["name"], fields["message"], fields["retryable"] = e.Name, e.Message, e.Retryable
	if e.Code != nil {
		fields["code"] = *e.Code
	}
	if e.Type != "" {
		fields["type"] = e.Type
	}
	if e.Data != nil {
		fields["data"] = e.Data
	}
	if e.Stack != "" {
		fields["stack"] = e.Stack
	}
	return json.Marshal(fields)
}

// UnmarshalJSON reads the form that MarshalJSON writes.
func (e *Error) UnmarshalJSON(text []byte) error {
	fields := map[string]json.RawMessage{}
	if err := json.Unmarshal(text, &fields); err != nil {
		return err
	}
	*e = Error{Name: "Error"}
	take := func(key string, v any) {
		if raw, ok := fields[key]; ok && json.Unmarshal(raw, v) == nil {
			delete(fields, key)
		}
	}
	var code float64 = -1
	take("name", &e.Name)
	take("message", &e.Message)
	take("type", &e.Type)
	take("retryable", &e.Retryable)
	take("stack", &e.Stack)
	if raw, ok := fields["code"]; ok && json.Unmarshal(raw, &code) == nil {
		if code >= 0 && code <= math.MaxUint32 && code == math.Trunc(code) {
			whole := uint32(code)
			e.Code = &whole
			delete(fields, "code")
		}
	}
	if raw, ok := fields["data"]; ok {
		e.Data = raw
		delete(fields, "data")
	}
	if len(fields) > 0 {
		e.Extra, _ = json.Marshal(fields)
	}
	return nil
}

// asError makes an Error of any error.
func asError(err error) *Error {
	var own *Error
	if errors.As(err, &own) && own != nil {
		return own
	}
	return NewError(500, "", err.Error())
}

// panicked makes an Error of what recover gave.
func panicked(value any) *Error {
	err, ok := value.(error)
	var own *Error
	if ok && errors.As(err, &own) && own != nil {
		return own
	}
	made := NewError(500, "PANIC", fmt.Sprint(value))
	stack := debug.Stack()
	made.Stack = string(stack[:min(len(stack), stackMax)])
	return made
}
