//go:build !wasip1

package isomer

import (
	"encoding/json"
	"fmt"
	"path"
	"strings"
)

// Mock is a broker in memory, whose other services are functions of a test (go test):
//
//	mock := isomer.NewMock().OnCall("users.get", func(params isomer.Payload, options isomer.Options) (any, error) {
//		return map[string]any{"id": 5, "name": "Ada"}, nil
//	})
//	var author User
//	err := mock.Call("author", map[string]any{"id": 5}, &author)
//
// It runs the service that was given to Serve, through the same code as a call from the mesh. What the node
// adds around it (limits, validation by schema, middlewares, the network) is not there.
type Mock struct {
	// What the service under test did.
	Calls  []MadeCall
	Events []SentEvent
	Logs   []LogLine
	// Streams that the service wrote: its answers and those that it sent.
	Streams []*WrittenStream
	// Meta is that of the next call, and what the service has made of it.
	Meta            map[string]any
	RequestHeaders  map[string]any
	ResponseHeaders map[string]any
	Settings        map[string]any
	Caller          string
	// Cache is what the service keeps; nothing of it ends.
	Cache map[string]Payload

	answers map[string]func(Payload, Options) (any, error)
	streams map[string][]any
	sent    []any
	failure *Error
	n       int
}

// MadeCall is a call that the service made.
type MadeCall struct {
	Action  string
	Params  Payload
	Options Options
}

// SentEvent is an event that the service sent; Kind is emit, broadcast or broadcastLocal.
type SentEvent struct {
	Kind, Name string
	Data       Payload
	Options    Options
}

// LogLine is a line that the service logged.
type LogLine struct {
	Level   Level
	Message string
	Fields  map[string]any
}

// WrittenStream is a stream that the service wrote. Err is that with which it failed.
type WrittenStream struct {
	ObjectMode bool
	Chunks     []Payload
	Ended      bool
	Err        *Error
}

// NewMock makes a broker without other services.
func NewMock() *Mock {
	return &Mock{
		Meta: map[string]any{}, RequestHeaders: map[string]any{}, ResponseHeaders: map[string]any{},
		Cache:   map[string]Payload{},
		answers: map[string]func(Payload, Options) (any, error){}, streams: map[string][]any{},
	}
}

// OnCall answers calls of an action. Actions without an answer fail with ServiceNotFoundError.
func (m *Mock) OnCall(action string, answer func(Payload, Options) (any, error)) *Mock {
	m.answers[action] = answer
	return m
}

// OnCallStream answers calls of an action with a stream of []byte or of other values.
func (m *Mock) OnCallStream(action string, chunks ...any) *Mock {
	m.streams[action] = chunks
	return m
}

// WithStream sends a stream with the next call.
func (m *Mock) WithStream(chunks ...any) *Mock { m.sent = chunks; return m }

// Failed sets the error for which a fallback is called: Call("get|fallback", …).
func (m *Mock) Failed(err *Error) *Mock { m.failure = err; return m }

// Call calls an action of the service by its own name and reads the result into what v points to.
func (m *Mock) Call(action string, params, v any) error {
	payload, err := NewPayload(params)
	if err != nil {
		return err
	}
	if payload.Kind == Absent {
		payload = Payload{JSONText, []byte("{}")}
	}
	result, err := served().callAction(m.context(served().name+"."+action, nil, nil), action, payload)
	if err != nil || v == nil {
		return err
	}
	return result.read(v)
}

// Emit sends an event to the handlers whose patterns match.
func (m *Mock) Emit(event string, data any, groups ...string) error {
	payload, err := NewPayload(data)
	if err != nil {
		return err
	}
	kind := uint8(0)
	for pattern := range served().events {
		if eventMatches(pattern, event) {
			if err := served().handleEvent(m.context(event, &kind, groups), pattern, payload); err != nil {
				return err
			}
		}
	}
	return nil
}

// Start runs what was given to Started.
func (m *Mock) Start() error { return served().runStarted(m.context("started", nil, nil)) }

// Stop runs what was given to Stopped.
func (m *Mock) Stop() error { return served().runStopped(m.context("stopped", nil, nil)) }

// Schema is what the service says of itself.
func (m *Mock) Schema() map[string]any {
	schema := map[string]any{}
	if text, err := served().describe(); err == nil {
		_ = json.Unmarshal(text, &schema)
	}
	return schema
}

func served() *Service {
	if serving == nil {
		panic("isomer: no service is declared; call isomer.Serve in a function init")
	}
	return serving
}

func (m *Mock) context(name string, kind *uint8, groups []string) *Context {
	m.n++
	stream := m.sent
	m.sent = nil
	return &Context{node: &mockNode{m, name, kind, groups, fmt.Sprint("mock-", m.n), stream}}
}

// eventMatches is for the mock; a node matches by itself.
func eventMatches(pattern, name string) bool {
	if rest, ok := strings.CutSuffix(pattern, "**"); ok {
		return strings.HasPrefix(name, rest)
	}
	ok, _ := path.Match(strings.ReplaceAll(pattern, ".", "/"), strings.ReplaceAll(name, ".", "/"))
	return ok
}

type mockNode struct {
	m      *Mock
	title  string
	kind   *uint8
	groups []string
	number string
	chunks []any
}

func (n *mockNode) id() string               { return n.number }
func (n *mockNode) requestID() string        { return n.number }
func (n *mockNode) parentID() (string, bool) { return "", false }
func (n *mockNode) caller() (string, bool)   { return n.m.Caller, n.m.Caller != "" }
func (n *mockNode) level() uint32            { return 1 }
func (n *mockNode) nodeID() string           { return "mock-node" }
func (n *mockNode) name() string             { return n.title }
func (n *mockNode) eventGroups() []string    { return n.groups }
func (n *mockNode) meta() []byte             { return mustJSON(n.m.Meta) }
func (n *mockNode) headers() []byte          { return mustJSON(n.m.RequestHeaders) }
func (n *mockNode) cause() *Error            { return n.m.failure }
func (n *mockNode) localNodeID() string      { return "mock-node" }
func (n *mockNode) namespace() string        { return "" }
func (n *mockNode) cacherEnabled() bool      { return true }
func (n *mockNode) logEnabled(uint8) bool    { return true }
func (n *mockNode) waitAny([]pending) int    { return 0 }

func (n *mockNode) eventType() (uint8, bool) {
	if n.kind == nil {
		return 0, false
	}
	return *n.kind, true
}

func (n *mockNode) setMeta(object []byte) error { return json.Unmarshal(object, &n.m.Meta) }

func (n *mockNode) setResponseHeaders(object []byte) error {
	return json.Unmarshal(object, &n.m.ResponseHeaders)
}

func (n *mockNode) remainingTime() (uint32, bool) { return 0, false }

func (n *mockNode) settings() []byte {
	if n.m.Settings != nil {
		return mustJSON(n.m.Settings)
	}
	if own, ok := serving.schema["settings"]; ok {
		return mustJSON(own)
	}
	return []byte("{}")
}

func (n *mockNode) service() string {
	if version, ok := serving.schema["version"]; ok {
		if text, ok := version.(string); ok {
			return text + "." + serving.name
		}
		return fmt.Sprintf("v%v.%s", version, serving.name)
	}
	return serving.name
}

func (n *mockNode) stream() source {
	if n.chunks == nil {
		return nil
	}
	made := &mockSource{chunks: n.chunks}
	n.chunks = nil
	return made
}

func (n *mockNode) respondStream(objectMode bool) (sink, error) { return n.m.written(objectMode), nil }

func (m *Mock) written(objectMode bool) sink {
	made := &WrittenStream{ObjectMode: objectMode}
	m.Streams = append(m.Streams, made)
	return &mockSink{made}
}

func (n *mockNode) call(action string, params Payload, options []byte) (Payload, error) {
	made := MadeCall{Action: action, Params: params}
	if options != nil {
		_ = json.Unmarshal(options, &made.Options)
	}
	n.m.Calls = append(n.m.Calls, made)
	answer := n.m.answers[action]
	if answer == nil {
		return Payload{}, NewError(404, "SERVICE_NOT_FOUND", "Service '"+action+"' is not found.").
			Named("ServiceNotFoundError").Again(true).With(map[string]string{"action": action})
	}
	result, err := answer(params, made.Options)
	if err != nil {
		return Payload{}, asError(err)
	}
	return NewPayload(result)
}

func (n *mockNode) startCall(action string, params Payload, options []byte) pending {
	if chunks, ok := n.m.streams[action]; ok {
		n.m.Calls = append(n.m.Calls, MadeCall{Action: action, Params: params})
		return &mockPending{stream: &mockSource{chunks: chunks}}
	}
	result, err := n.call(action, params, options)
	return &mockPending{result: result, err: err}
}

func (n *mockNode) startStreamCall(action string, params Payload, options []byte, objectMode bool) (sink, pending) {
	return n.m.written(objectMode), n.startCall(action, params, options)
}

func (n *mockNode) mcall(calls, options []byte) (Payload, error) {
	var settled struct {
		Settled bool `json:"settled"`
	}
	if options != nil {
		_ = json.Unmarshal(options, &settled)
	}
	one := func(item rawItem) (any, error) {
		result, err := n.call(item.Action, item.Params, nil)
		switch {
		case err == nil && settled.Settled:
			return map[string]any{"status": "fulfilled", "value": result}, nil
		case settled.Settled:
			return map[string]any{"status": "rejected", "reason": asError(err)}, nil
		}
		return result, err
	}
	var list []rawItem
	if json.Unmarshal(calls, &list) == nil {
		results := make([]any, len(list))
		for i, item := range list {
			result, err := one(item)
			if err != nil {
				return Payload{}, err
			}
			results[i] = result
		}
		return NewPayload(results)
	}
	var named map[string]rawItem
	if err := json.Unmarshal(calls, &named); err != nil {
		return Payload{}, err
	}
	results := map[string]any{}
	for key, item := range named {
		result, err := one(item)
		if err != nil {
			return Payload{}, err
		}
		results[key] = result
	}
	return NewPayload(results)
}

type rawItem struct {
	Action string  `json:"action"`
	Params Payload `json:"params"`
}

func (n *mockNode) send(kind uint8, event string, data Payload, options []byte) error {
	made := SentEvent{Kind: eventTypes[kind], Name: event, Data: data}
	if options != nil {
		_ = json.Unmarshal(options, &made.Options)
	}
	n.m.Events = append(n.m.Events, made)
	return nil
}

func (n *mockNode) waitForServices([]string, *uint32) error { return nil }

func (n *mockNode) log(level uint8, message string, fields []byte) {
	line := LogLine{Level: Level(level), Message: message}
	if fields != nil {
		_ = json.Unmarshal(fields, &line.Fields)
	}
	n.m.Logs = append(n.m.Logs, line)
}

func (n *mockNode) cacherGet(key string) (Payload, bool, error) {
	value, ok := n.m.Cache[key]
	return value, ok, nil
}

func (n *mockNode) cacherGetWithTTL(key string) (Payload, *float64, bool, error) {
	value, ok := n.m.Cache[key]
	return value, nil, ok, nil
}

func (n *mockNode) cacherSet(key string, value Payload, _ *float64) error {
	n.m.Cache[key] = value
	return nil
}

func (n *mockNode) cacherDel(keys []string) error {
	for _, key := range keys {
		delete(n.m.Cache, key)
	}
	return nil
}

func (n *mockNode) cacherClean(patterns []string) error {
	for key := range n.m.Cache {
		for _, pattern := range patterns {
			if eventMatches(pattern, key) {
				delete(n.m.Cache, key)
			}
		}
	}
	return nil
}

type mockPending struct {
	result Payload
	err    error
	stream source
}

func (p *mockPending) take() (Payload, error, bool) { return p.result, p.err, true }

func (p *mockPending) takeStream() (source, error) {
	stream := p.stream
	p.stream = nil
	return stream, nil
}

func (p *mockPending) drop() {}

type mockSource struct{ chunks []any }

func (s *mockSource) objectMode() bool {
	if len(s.chunks) == 0 {
		return false
	}
	_, raw := s.chunks[0].([]byte)
	return !raw
}

func (s *mockSource) read() (Payload, bool, error) {
	if len(s.chunks) == 0 {
		return Payload{}, false, nil
	}
	chunk, err := NewPayload(s.chunks[0])
	s.chunks = s.chunks[1:]
	return chunk, err == nil, err
}

func (s *mockSource) drop() {}

type mockSink struct{ written *WrittenStream }

func (s *mockSink) objectMode() bool { return s.written.ObjectMode }
func (s *mockSink) write(chunk Payload) error {
	s.written.Chunks = append(s.written.Chunks, chunk)
	return nil
}
func (s *mockSink) end() error      { s.written.Ended = true; return nil }
func (s *mockSink) fail(err *Error) { s.written.Ended, s.written.Err = true, err }
func (s *mockSink) drop()           {}

func mustJSON(v any) []byte {
	text, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return text
}
