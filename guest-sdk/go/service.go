package isomer

import (
	"encoding/json"
	"fmt"
	"reflect"
	"regexp"
	"strings"
)

// Service is what a component offers; made by New and completed by Action, Event and the hooks.
type Service struct {
	name      string
	schema    map[string]any
	isomer    map[string]any
	actions   map[string]*action
	events    map[string]*listener
	started   []func(*Context) error
	stopped   []func(*Context) error
	hooks     []patternHook
	actionLog []string
}

type action struct {
	key      string
	keys     map[string]any
	params   reflect.Type
	run      func(*Context, Payload) (Payload, error)
	fallback func(*Context, Payload) (Payload, error)
	before   []func(*Context, *Payload) error
	after    []func(*Context, Payload, Payload) (Payload, error)
	onError  []func(*Context, Payload, *Error) (any, error)
	hooked   bool
}

type listener struct {
	keys     map[string]any
	handlers []func(*Context, Payload) error
}

type patternHook struct {
	pattern string
	put     func(*action)
}

// ServiceOption is a key of a service.
type ServiceOption func(*Service)

// New begins a service. Mistakes in its declaration are panics: they stop the node from taking the component.
func New(name string, options ...ServiceOption) *Service {
	if !regexp.MustCompile(`^[A-Za-z0-9_.-]+$`).MatchString(name) {
		panic(fmt.Sprintf("isomer: the name of a service has letters, digits, '-', '_' and '.'; %q has others", name))
	}
	s := &Service{
		name:    name,
		schema:  map[string]any{"name": name},
		isomer:  map[string]any{"sdk": "go/" + SDKVersion},
		actions: map[string]*action{},
		events:  map[string]*listener{},
	}
	for _, option := range options {
		option(s)
	}
	return s
}

// Version is a number or a text.
func Version(version any) ServiceOption {
	return func(s *Service) { s.schema["version"] = version }
}

// Settings are free JSON, overlaid by the operator's NAME.toml.
func Settings(settings map[string]any) ServiceOption {
	return func(s *Service) { s.schema["settings"] = settings }
}

// Metadata is free JSON for other nodes.
func Metadata(metadata map[string]any) ServiceOption {
	return func(s *Service) { s.schema["metadata"] = metadata }
}

// Dependencies are the full names of services that have to be there before this one starts.
func Dependencies(names ...string) ServiceOption {
	return func(s *Service) { s.schema["dependencies"] = names }
}

// Mode is pooled or fresh.
func Mode(mode string) ServiceOption {
	return func(s *Service) { s.isomer["mode"] = mode }
}

// ServiceLimits asks for less than the operator allows.
func ServiceLimits(limits Limits) ServiceOption {
	return func(s *Service) { s.isomer["limits"] = limits.keys() }
}

// Option is a key of an action or an event, or something that stands around an action.
type Option interface{ apply(*action) }

// Keys are Moleculer's keys, and keys of your own, which are carried to all nodes.
type Keys map[string]any

func (k Keys) apply(a *action) {
	for key, value := range k {
		a.keys[key] = value
	}
}

// Params is the schema of the params (fastest-validator's); without it the schema is made from the type of
// the params: a struct with tags json and isomer.
type Params map[string]any

func (p Params) apply(a *action) { a.keys["params"] = map[string]any(p) }

// NoParams is for actions whose params are not described, although their type could.
var NoParams Option = optionFunc(func(a *action) { a.keys["params"] = nil })

// Cache keeps results: for all params, or told apart by Keys, for TTL seconds (0 is as the node says).
type Cache struct {
	Keys []string
	TTL  float64
}

func (c Cache) apply(a *action) {
	if c.Keys == nil && c.TTL == 0 {
		a.keys["cache"] = true
		return
	}
	cache := map[string]any{}
	if c.Keys != nil {
		cache["keys"] = c.Keys
	}
	if c.TTL != 0 {
		cache["ttl"] = c.TTL
	}
	a.keys["cache"] = cache
}

// Timeout of an action in milliseconds.
type Timeout uint32

func (t Timeout) apply(a *action) { a.keys["timeout"] = uint32(t) }

// Visibility is published, public, protected or private.
type Visibility string

func (v Visibility) apply(a *action) { a.keys["visibility"] = string(v) }

// Rest is how a gateway publishes the action, such as GET /:id.
type Rest string

func (r Rest) apply(a *action) { a.keys["rest"] = string(r) }

// Group is the group of an event for balancing.
type Group string

func (g Group) apply(a *action) { a.keys["group"] = string(g) }

// Limits asks for less than the operator allows: fuel and memory (bytes) per call, Timeout in milliseconds,
// Payload in bytes; 0 asks for nothing.
type Limits struct{ Fuel, Timeout, Memory, Payload uint64 }

func (l Limits) apply(a *action) { a.keys["isomer"] = map[string]any{"limits": l.keys()} }

func (l Limits) keys() map[string]any {
	keys := map[string]any{}
	for name, value := range map[string]uint64{
		"fuel": l.Fuel, "timeout": l.Timeout, "memory": l.Memory, "payload": l.Payload,
	} {
		if value != 0 {
			keys[name] = value
		}
	}
	return keys
}

type optionFunc func(*action)

func (f optionFunc) apply(a *action) { f(a) }

// Action offers an action. P is what the params are read into: a struct, a map, []byte, a Payload, None. R is
// the result: anything with a JSON form, []byte, a Payload, or None for no value.
func Action[P, R any](s *Service, name string, handler func(*Context, P) (R, error), options ...Option) {
	if name == "" || strings.ContainsAny(name, " \t\n|") {
		panic(fmt.Sprintf("isomer: the name of an action is a word without '|'; %q is not", name))
	}
	if s.actions[name] != nil {
		panic("isomer: there are two actions " + name)
	}
	made := &action{key: name, keys: map[string]any{}, params: reflect.TypeFor[P](), run: typed(handler)}
	for _, option := range options {
		option.apply(made)
	}
	s.actions[name] = made
	s.actionLog = append(s.actionLog, name)
}

// typed is a handler without its types. Nothing is found out about them per call: the compiler has made the
// code for them.
func typed[P, R any](handler func(*Context, P) (R, error)) func(*Context, Payload) (Payload, error) {
	return func(ctx *Context, payload Payload) (Payload, error) {
		var params P
		if err := payload.read(&params); err != nil {
			return Payload{}, invalid(err)
		}
		result, err := handler(ctx, params)
		if err != nil {
			return Payload{}, err
		}
		return NewPayload(result)
	}
}

// Fallback answers in the place of an action that has failed for good, after hooks, retries and time-outs.
func Fallback[P, R any](handler func(*Context, P, *Error) (R, error)) Option {
	return optionFunc(func(a *action) {
		a.keys["fallback"] = "fallback"
		a.fallback = func(ctx *Context, payload Payload) (Payload, error) {
			cause := ctx.Cause()
			if cause == nil {
				cause = NewError(500, "NO_CAUSE", "a fallback runs without an error to answer for")
			}
			var params P
			if payload.read(&params) != nil {
				// Params that the action could not read either are no reason to hide its own error.
				return Payload{}, cause
			}
			result, err := handler(ctx, params, cause)
			if err != nil {
				return Payload{}, err
			}
			return NewPayload(result)
		}
	})
}

// Event handles events whose names match a pattern.
func Event[D any](s *Service, pattern string, handler func(*Context, D) error, options ...Option) {
	keys := &action{keys: map[string]any{}}
	for _, option := range options {
		option.apply(keys)
	}
	found := s.events[pattern]
	if found == nil {
		found = &listener{keys: keys.keys}
		s.events[pattern] = found
	}
	for key, value := range keys.keys {
		found.keys[key] = value
	}
	found.handlers = append(found.handlers, func(ctx *Context, payload Payload) error {
		var data D
		if err := payload.read(&data); err != nil {
			return invalid(err)
		}
		return handler(ctx, data)
	})
}

// Started runs in every new instance before its first call.
func (s *Service) Started(handler func(*Context) error) { s.started = append(s.started, handler) }

// Stopped runs in an instance that is retired in good health.
func (s *Service) Stopped(handler func(*Context) error) { s.stopped = append(s.stopped, handler) }

// describe is the schema.
func (s *Service) describe() ([]byte, error) {
	actions, events := map[string]any{}, map[string]any{}
	for key, a := range s.actions {
		if _, given := a.keys["params"]; !given {
			if rules := rulesOf(a.params); rules != nil {
				a.keys["params"] = rules
			}
		}
		if a.keys["params"] == nil {
			delete(a.keys, "params")
		}
		actions[key] = a.keys
	}
	for pattern, e := range s.events {
		events[pattern] = e.keys
	}
	lifecycle := []string{}
	if len(s.started) > 0 {
		lifecycle = append(lifecycle, "started")
	}
	if len(s.stopped) > 0 {
		lifecycle = append(lifecycle, "stopped")
	}
	s.isomer["lifecycle"] = lifecycle
	s.schema["actions"], s.schema["events"], s.schema["isomer"] = actions, events, s.isomer
	return json.Marshal(s.schema)
}
