package isomer

import (
	"path"
	"strings"
)

// Before runs before the actions that a pattern means ("*", "create|update", "get*"). It changes the params
// through the pointer (a map keeps keys that it does not know) and refuses the call by returning an error.
//
// Hooks run in Moleculer's order: before an action those of "*", those whose pattern means it, its own; after
// it the reverse.
func Before[P any](s *Service, pattern string, hook func(*Context, *P) error) {
	s.hooks = append(s.hooks, patternHook{pattern, func(a *action) { a.before = append(a.before, before(hook)) }})
}

// After runs after actions that ended well; what it returns is the result from then on.
func After[P, R any](s *Service, pattern string, hook func(*Context, P, R) (R, error)) {
	s.hooks = append(s.hooks, patternHook{pattern, func(a *action) { a.after = append(a.after, after(hook)) }})
}

// OnError runs when an action or another hook failed. The error that it returns is the error from then on;
// without one, the value is the result of the call.
func OnError(s *Service, pattern string, hook func(*Context, Payload, *Error) (any, error)) {
	s.hooks = append(s.hooks, patternHook{pattern, func(a *action) { a.onError = append(a.onError, hook) }})
}

// BeforeThis is a Before hook of one action.
func BeforeThis[P any](hook func(*Context, *P) error) Option {
	return optionFunc(func(a *action) { a.before = append(a.before, before(hook)) })
}

// AfterThis is an After hook of one action.
func AfterThis[P, R any](hook func(*Context, P, R) (R, error)) Option {
	return optionFunc(func(a *action) { a.after = append(a.after, after(hook)) })
}

// OnErrorOfThis is an OnError hook of one action.
func OnErrorOfThis(hook func(*Context, Payload, *Error) (any, error)) Option {
	return optionFunc(func(a *action) { a.onError = append(a.onError, hook) })
}

func before[P any](hook func(*Context, *P) error) func(*Context, *Payload) error {
	return func(ctx *Context, payload *Payload) error {
		var params P
		if err := payload.read(&params); err != nil {
			return invalid(err)
		}
		if err := hook(ctx, &params); err != nil {
			return err
		}
		if payload.Kind != JSONText {
			return nil
		}
		changed, err := NewPayload(params)
		if err == nil {
			*payload = changed
		}
		return err
	}
}

func after[P, R any](hook func(*Context, P, R) (R, error)) func(*Context, Payload, Payload) (Payload, error) {
	return func(ctx *Context, payload, returned Payload) (Payload, error) {
		var params P
		var result R
		if err := payload.read(&params); err != nil {
			return returned, invalid(err)
		}
		if err := returned.read(&result); err != nil {
			return returned, NewError(500, "UNEXPECTED_FORM", "a hook cannot read the result of the action: "+err.Error())
		}
		result, err := hook(ctx, params, result)
		if err != nil {
			return returned, err
		}
		return NewPayload(result)
	}
}

// arrange puts hooks of patterns around the actions, in Moleculer's order.
func (s *Service) arrange() {
	used := make([]bool, len(s.hooks))
	for _, key := range s.actionLog {
		a := s.actions[key]
		own := *a
		a.before, a.after, a.onError = nil, nil, nil
		s.put(a, used, func(pattern string) bool { return pattern == "*" })
		everything := *a
		a.before, a.after, a.onError = nil, nil, nil
		s.put(a, used, func(pattern string) bool { return pattern != "*" && means(pattern, key) })
		a.before = append(append(everything.before, a.before...), own.before...)
		a.after = append(append(own.after, a.after...), everything.after...)
		a.onError = append(append(own.onError, a.onError...), everything.onError...)
		a.hooked = len(a.before)+len(a.after)+len(a.onError) > 0
	}
	for i, hook := range s.hooks {
		if !used[i] {
			panic("isomer: no action is meant by the hook for " + hook.pattern)
		}
	}
}

func (s *Service) put(a *action, used []bool, wanted func(string) bool) {
	for i, hook := range s.hooks {
		if wanted(hook.pattern) {
			hook.put(a)
			used[i] = true
		}
	}
}

// means says whether one of the words of a pattern means an action.
func means(pattern, name string) bool {
	for word := range strings.SplitSeq(pattern, "|") {
		if ok, _ := path.Match(word, name); ok {
			return true
		}
	}
	return false
}

// runHooked runs an action with what stands around it.
func (a *action) runHooked(ctx *Context, payload Payload) (Payload, error) {
	result, err := a.runAround(ctx, &payload)
	if err == nil {
		return result, nil
	}
	for _, hook := range a.onError {
		value, other := hook(ctx, payload, asError(err))
		if other == nil {
			return NewPayload(value)
		}
		err = other
	}
	return Payload{}, err
}

func (a *action) runAround(ctx *Context, payload *Payload) (result Payload, err error) {
	// A panic of an action is an error that hooks see, as every other.
	defer func() {
		if value := recover(); value != nil {
			err = panicked(value)
		}
	}()
	for _, hook := range a.before {
		if err := hook(ctx, payload); err != nil {
			return Payload{}, err
		}
	}
	result, err = a.run(ctx, *payload)
	for _, hook := range a.after {
		if err != nil {
			return Payload{}, err
		}
		result, err = hook(ctx, *payload, result)
	}
	return result, err
}
