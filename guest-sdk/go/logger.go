package isomer

import (
	"encoding/json"
	"fmt"
)

// Level of a line of the log, most severe first.
type Level uint8

// Moleculer's levels.
const (
	Fatal Level = iota
	Failed
	Warn
	Info
	Debug
	Trace
)

// Logger writes into the log of the node. Lines carry the name of the service and the IDs of the call.
type Logger struct {
	node   boundary
	fields map[string]any
}

// Field adds a further value to the lines.
func (l Logger) Field(name string, value any) Logger {
	fields := map[string]any{name: value}
	for key, old := range l.fields {
		if key != name {
			fields[key] = old
		}
	}
	return Logger{l.node, fields}
}

// Enabled says whether lines of a level are written; ask before building an expensive message.
func (l Logger) Enabled(level Level) bool { return l.node.logEnabled(uint8(level)) }

// Log writes a line of a level.
func (l Logger) Log(level Level, message ...any) {
	if !l.Enabled(level) {
		return
	}
	var fields []byte
	if len(l.fields) > 0 {
		fields, _ = json.Marshal(l.fields)
	}
	l.node.log(uint8(level), fmt.Sprint(message...), fields)
}

// Fatal says that the service cannot go on.
func (l Logger) Fatal(message ...any) { l.Log(Fatal, message...) }

// Error says that a request failed and somebody should look.
func (l Logger) Error(message ...any) { l.Log(Failed, message...) }

// Warn says what was unexpected, but dealt with.
func (l Logger) Warn(message ...any) { l.Log(Warn, message...) }

// Info says what an operator wants to see in normal times.
func (l Logger) Info(message ...any) { l.Log(Info, message...) }

// Debug is for the developer of the service.
func (l Logger) Debug(message ...any) { l.Log(Debug, message...) }

// Trace says everything.
func (l Logger) Trace(message ...any) { l.Log(Trace, message...) }
