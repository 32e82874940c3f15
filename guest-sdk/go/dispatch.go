package isomer

import (
	"encoding/json"
	"errors"
	"strings"
)

// serving is the one service of this component.
var serving *Service

// Serve makes a service that of this component; there is one in a component.
func Serve(s *Service) {
	if serving != nil {
		panic("isomer: a component has one service; " + serving.name + " is there already")
	}
	s.arrange()
	serving = s
}

func (s *Service) callAction(ctx *Context, key string, params Payload) (result Payload, err error) {
	defer func() {
		if value := recover(); value != nil {
			err = panicked(value)
		}
	}()
	if a := s.actions[key]; a != nil {
		if a.hooked {
			return a.runHooked(ctx, params)
		}
		return a.run(ctx, params)
	}
	if name, ok := strings.CutSuffix(key, "|fallback"); ok {
		if a := s.actions[name]; a != nil && a.fallback != nil {
			return a.fallback(ctx, params)
		}
	}
	return Payload{}, ClientError(404, "NO_SUCH_ACTION", "service '"+s.name+"' has no action '"+key+"'")
}

func (s *Service) handleEvent(ctx *Context, pattern string, data Payload) error {
	found := s.events[pattern]
	if found == nil {
		return ClientError(404, "NO_SUCH_EVENT", "service '"+s.name+"' has no event '"+pattern+"'")
	}
	var first error
	for _, handler := range found.handlers {
		if err := guarded(func() error { return handler(ctx, data) }); err != nil && first == nil {
			first = err
		}
	}
	return first
}

func (s *Service) runStarted(ctx *Context) error { return runAll(s.started, ctx) }
func (s *Service) runStopped(ctx *Context) error { return runAll(s.stopped, ctx) }

func runAll(handlers []func(*Context) error, ctx *Context) error {
	for _, handler := range handlers {
		if err := guarded(func() error { return handler(ctx) }); err != nil {
			return err
		}
	}
	return nil
}

// guarded makes an error of a panic: a panic that leaves the component would end the instance.
func guarded(run func() error) (err error) {
	defer func() {
		if value := recover(); value != nil {
			err = panicked(value)
		}
	}()
	return run()
}

// invalid is the ValidationError for a value that could not be read.
func invalid(err error) error {
	var own *Error
	if errors.As(err, &own) {
		return own
	}
	item := map[string]string{"type": "type", "message": err.Error()}
	var wrong *json.UnmarshalTypeError
	if errors.As(err, &wrong) && wrong.Field != "" {
		item["field"] = wrong.Field
	}
	return ValidationError("Parameters validation error!").With([]any{item})
}
