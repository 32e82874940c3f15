// The conformance guest in Go; tests/conformance/README.md says what each action does.
package main

import (
	"errors"
	"io"
	"os"
	"time"

	"isomer"
)

type (
	object = map[string]any
	value  = isomer.Payload
	none   = isomer.None
)

var (
	started, counted, runs int
	noted                  = []object{}
	hoarded                [][]byte
)

type callParams struct {
	Action  string         `json:"action"`
	Params  value          `json:"params"`
	Options isomer.Options `json:"options"`
}

func (c callParams) call(ctx *isomer.Context) (value, error) {
	return ctx.Call(c.Action, c.Params, c.Options)
}

// orNil is a text, or null when it is not there.
func orNil(text string) any {
	if text == "" {
		return nil
	}
	return text
}

func fields(ctx *isomer.Context) object {
	var meta, headers, settings object
	_, _, _ = ctx.Meta(&meta), ctx.Headers(&headers), ctx.Settings(&settings)
	var remaining any
	if left, ok := ctx.RemainingTime(); ok {
		remaining = left.Milliseconds()
	}
	return object{
		"id": ctx.ID(), "requestID": ctx.RequestID(), "parentID": orNil(ctx.ParentID()),
		"caller": orNil(ctx.Caller()), "level": ctx.Level(), "nodeID": ctx.NodeID(), "name": ctx.Name(),
		"eventType": orNil(ctx.EventType()), "eventGroups": ctx.EventGroups(), "meta": meta,
		"headers": headers, "remainingTime": remaining, "settings": settings,
		"localNodeID": ctx.LocalNodeID(), "namespace": ctx.Namespace(),
	}
}

func asError(err error) *isomer.Error {
	var own *isomer.Error
	if !errors.As(err, &own) {
		return isomer.NewError(500, "", err.Error())
	}
	return own
}

func reading(reader *isomer.Reader) object {
	n, values, end := 0, []value{}, "end"
	for chunk, err := range reader.Chunks() {
		if err != nil {
			end = asError(err).Type
			break
		}
		if reader.ObjectMode() {
			values = append(values, chunk)
		} else {
			n += len(chunk.Data)
		}
	}
	return object{"objectMode": reader.ObjectMode(), "bytes": n, "values": values, "end": end}
}

func push(into object, key, name string) {
	list, _ := into[key].([]any)
	into[key] = append(list, name)
}

func init() {
	s := isomer.New("conformance",
		isomer.Settings(object{"color": "red", "size": 5}),
		isomer.Metadata(object{"kind": "conformance"}))
	s.Started(func(ctx *isomer.Context) error {
		var settings struct{ Started string }
		if ctx.Settings(&settings) == nil && settings.Started == "fail" {
			return isomer.NewError(500, "START_FAILED", "as the settings ask")
		}
		started++
		return ctx.Emit("life.started", object{"started": started})
	})
	s.Stopped(func(ctx *isomer.Context) error {
		return ctx.Emit("life.stopped", object{"count": counted})
	})
	values(s)
	contexts(s)
	failures(s)
	calls(s)
	events(s)
	around(s)
	limits(s)
	streams(s)
	isomer.Serve(s)
}

func values(s *isomer.Service) {
	isomer.Action(s, "echo", func(_ *isomer.Context, p value) (value, error) { return p, nil },
		isomer.Keys{"x-custom": object{"deep": []any{1, nil}}})
	isomer.Action(s, "kind", func(_ *isomer.Context, p value) (string, error) {
		return [...]string{"absent", "json", "bytes"}[p.Kind], nil
	})
	isomer.Action(s, "nothing", func(*isomer.Context, none) (none, error) { return none{}, nil })
	isomer.Action(s, "bytes", func(_ *isomer.Context, p struct{ N int }) ([]byte, error) {
		made := make([]byte, p.N)
		for i := range made {
			made[i] = 7
		}
		return made, nil
	}, isomer.NoParams)
	isomer.Action(s, "sum", func(_ *isomer.Context, p []byte) (int, error) {
		sum := 0
		for _, b := range p {
			sum += int(b)
		}
		return sum, nil
	})
	isomer.Action(s, "roundtrip", func(_ *isomer.Context, p object) (object, error) {
		return object{"value": p["value"]}, nil
	})
}

func contexts(s *isomer.Service) {
	isomer.Action(s, "context", func(ctx *isomer.Context, _ none) (object, error) { return fields(ctx), nil })
	isomer.Action(s, "setMeta", func(ctx *isomer.Context, p struct {
		Set  object
		Fail bool
	}) (object, error) {
		var was object
		if err := ctx.Meta(&was); err != nil {
			return nil, err
		}
		if err := ctx.SetMeta(p.Set); err != nil {
			return nil, err
		}
		if p.Fail {
			return nil, isomer.ClientError(400, "AFTER_META", "failed after the meta was set")
		}
		return was, nil
	}, isomer.NoParams)
	isomer.Action(s, "setHeaders", func(ctx *isomer.Context, p object) (none, error) {
		return none{}, ctx.SetResponseHeaders(p)
	})
	isomer.Action(s, "log", func(ctx *isomer.Context, p struct {
		Level, Message string
		Fields         object
	}) (bool, error) {
		level := map[string]isomer.Level{
			"fatal": isomer.Fatal, "error": isomer.Failed, "warn": isomer.Warn,
			"info": isomer.Info, "debug": isomer.Debug, "trace": isomer.Trace,
		}[p.Level]
		logger := ctx.Logger()
		for name, value := range p.Fields {
			logger = logger.Field(name, value)
		}
		logger.Log(level, p.Message)
		return logger.Enabled(level), nil
	}, isomer.NoParams)
	isomer.Action(s, "count", func(*isomer.Context, none) (object, error) {
		counted++
		return object{"count": counted, "started": started}, nil
	})
}

func failures(s *isomer.Service) {
	isomer.Action(s, "fail", func(_ *isomer.Context, p isomer.Error) (none, error) { return none{}, &p })
	isomer.Action(s, "failPlain", func(_ *isomer.Context, p struct{ Message string }) (none, error) {
		return none{}, errors.New(p.Message)
	}, isomer.NoParams)
	isomer.Action(s, "trap", func(*isomer.Context, none) (none, error) {
		os.Exit(3)
		return none{}, nil
	})
}

func calls(s *isomer.Service) {
	isomer.Action(s, "call", func(ctx *isomer.Context, p callParams) (value, error) { return p.call(ctx) },
		isomer.NoParams)
	isomer.Action(s, "callAndMeta", func(ctx *isomer.Context, p callParams) (object, error) {
		seen := object{"result": nil, "error": nil}
		if result, err := p.call(ctx); err != nil {
			seen["error"] = asError(err)
		} else {
			seen["result"] = result
		}
		var meta object
		err := ctx.Meta(&meta)
		seen["meta"] = meta
		return seen, err
	}, isomer.NoParams)
	isomer.Action(s, "parallel", func(ctx *isomer.Context, p struct{ Calls []callParams }) ([]object, error) {
		flying := make([]*isomer.Pending, len(p.Calls))
		for i, c := range p.Calls {
			flying[i] = ctx.Start(c.Action, c.Params, c.Options)
		}
		_ = isomer.All(flying...)
		outcomes := make([]object, len(flying))
		for i, call := range flying {
			if result, err := call.Wait(); err != nil {
				outcomes[i] = object{"error": asError(err)}
			} else {
				outcomes[i] = object{"value": result}
			}
		}
		return outcomes, nil
	}, isomer.NoParams)
	isomer.Action(s, "mcall", func(ctx *isomer.Context, p struct {
		Calls   value
		Settled bool
		Timeout *int
	}) (value, error) {
		options := isomer.Options{}
		if p.Settled {
			options["settled"] = true
		}
		if p.Timeout != nil {
			options["timeout"] = *p.Timeout
		}
		return ctx.MCall(p.Calls, options)
	}, isomer.NoParams)
	isomer.Action(s, "waitFor", func(ctx *isomer.Context, p struct {
		Services []string
		Timeout  int
	}) (none, error) {
		return none{}, ctx.WaitForServices(time.Duration(p.Timeout)*time.Millisecond, p.Services...)
	}, isomer.NoParams)
	isomer.Action(s, "secret", func(*isomer.Context, none) (string, error) {
		return "only for this service", nil
	}, isomer.Visibility("private"))
}

func events(s *isomer.Service) {
	isomer.Action(s, "emit", func(ctx *isomer.Context, p struct {
		Event, Kind string
		Data        value
		Options     isomer.Options
	}) (none, error) {
		switch p.Kind {
		case "broadcast":
			return none{}, ctx.Broadcast(p.Event, p.Data, p.Options)
		case "broadcastLocal":
			return none{}, ctx.BroadcastLocal(p.Event, p.Data, p.Options)
		default:
			return none{}, ctx.Emit(p.Event, p.Data, p.Options)
		}
	}, isomer.NoParams)
	isomer.Action(s, "events", func(*isomer.Context, none) ([]object, error) {
		taken := noted
		noted = []object{}
		return taken, nil
	})
	isomer.Event(s, "conformance.*", func(ctx *isomer.Context, data value) error {
		noted = append(noted, object{
			"context": fields(ctx), "data": data, "absent": data.Kind == isomer.Absent,
		})
		return nil
	})
	isomer.Event(s, "grouped.**", func(ctx *isomer.Context, data value) error {
		noted = append(noted, object{"context": fields(ctx), "data": data, "group": "conformance-group"})
		return nil
	}, isomer.Group("conformance-group"))
	isomer.Event(s, "failing.event", func(*isomer.Context, value) error {
		return isomer.ClientError(418, "EVENT_FAILED", "the handler fails")
	})
}

func around(s *isomer.Service) {
	isomer.Action(s, "validated", func(_ *isomer.Context, p value) (value, error) { return p, nil },
		isomer.Params{
			"id":   object{"type": "number", "integer": true, "positive": true},
			"name": object{"type": "string", "min": 3, "optional": true},
			"tags": object{"type": "array", "items": "string", "optional": true}, "$$strict": true,
		})
	isomer.Action(s, "cached", func(_ *isomer.Context, p struct{ ID value }) (object, error) {
		runs++
		return object{"id": p.ID, "runs": runs}, nil
	}, isomer.NoParams, isomer.Cache{Keys: []string{"id"}, TTL: 60})
	isomer.Action(s, "cacher", cacher, isomer.NoParams)
	isomer.Before(s, "hook*", func(_ *isomer.Context, p *object) error {
		push(*p, "seen", "service")
		return nil
	})
	isomer.After(s, "hook*", func(_ *isomer.Context, _ object, result object) (object, error) {
		push(result, "after", "service")
		return result, nil
	})
	isomer.OnError(s, "hook*", func(_ *isomer.Context, _ value, err *isomer.Error) (any, error) {
		err.Message += ", seen by service"
		return nil, err
	})
	isomer.Action(s, "hooked", func(_ *isomer.Context, p struct {
		Seen []string
		Fail bool
	}) (object, error) {
		if p.Fail {
			return nil, isomer.NewError(500, "HOOKED", "failed")
		}
		return object{"seen": p.Seen, "after": []any{}}, nil
	}, isomer.NoParams,
		isomer.BeforeThis(func(_ *isomer.Context, p *object) error {
			push(*p, "seen", "action")
			return nil
		}),
		isomer.AfterThis(func(_ *isomer.Context, _ object, result object) (object, error) {
			push(result, "after", "action")
			return result, nil
		}),
		isomer.OnErrorOfThis(func(_ *isomer.Context, params value, err *isomer.Error) (any, error) {
			var p struct{ Recover bool }
			if params.Into(&p) == nil && p.Recover {
				return object{"recovered": err.Message}, nil
			}
			err.Message += ", seen by action"
			return nil, err
		}))
	isomer.Action(s, "saved", func(_ *isomer.Context, p struct{ Why string }) (none, error) {
		return none{}, isomer.ClientError(409, "NOT_SAVED", p.Why).With(object{"at": 1})
	}, isomer.NoParams, isomer.Fallback(func(_ *isomer.Context, p value, cause *isomer.Error) (object, error) {
		return object{"instead": cause.Message, "type": cause.Type, "data": cause.Data, "params": p}, nil
	}))
}

func cacher(ctx *isomer.Context, p struct {
	Do, Key string
	Value   value
	TTL     *float64
}) (any, error) {
	cacher := ctx.Cacher()
	switch p.Do {
	case "enabled":
		return cacher.Enabled(), nil
	case "get":
		var found value
		ok, err := cacher.Get(p.Key, &found)
		return object{"found": ok, "value": found}, err
	case "ttl":
		var found value
		left, ok, err := cacher.GetWithTTL(p.Key, &found)
		var ttl any
		if left > 0 {
			ttl = left.Seconds()
		}
		return object{"found": ok, "ttl": ttl}, err
	case "set":
		ttl := isomer.DefaultTTL
		if p.TTL != nil {
			ttl = time.Duration(*p.TTL * float64(time.Second))
		}
		return none{}, cacher.Set(p.Key, p.Value, ttl)
	case "del":
		return none{}, cacher.Del(p.Key)
	default:
		return none{}, cacher.Clean(p.Key)
	}
}

func limits(s *isomer.Service) {
	isomer.Action(s, "spin", func(_ *isomer.Context, p struct{ N uint64 }) (uint64, error) {
		state := uint64(1)
		for i := uint64(0); p.N == 0 || i < p.N; i++ {
			state = state*6364136223846793005 + i
		}
		if state == 0 {
			return 0, io.EOF
		}
		return p.N, nil
	}, isomer.NoParams, isomer.Limits{Fuel: 50_000_000})
	isomer.Action(s, "hoard", func(_ *isomer.Context, p struct{ Mib int }) (int, error) {
		made := make([]byte, p.Mib<<20)
		for i := range made {
			made[i] = 'x'
		}
		hoarded = append(hoarded, made)
		return p.Mib, nil
	}, isomer.NoParams)
}

func streams(s *isomer.Service) {
	isomer.Action(s, "readStream", func(ctx *isomer.Context, _ none) (any, error) {
		reader := ctx.Stream()
		if reader == nil {
			return nil, nil
		}
		return reading(reader), nil
	})
	isomer.Action(s, "writeStream", func(ctx *isomer.Context, p struct {
		N, Size          int
		ObjectMode, Fail bool
	}) (none, error) {
		writer, err := ctx.RespondStream(p.ObjectMode)
		if err != nil {
			return none{}, err
		}
		chunk := make([]byte, p.Size)
		for i := range chunk {
			chunk[i] = 'x'
		}
		for i := range p.N {
			var piece any = chunk
			if p.ObjectMode {
				piece = object{"n": i}
			}
			if err := writer.Send(piece); err != nil {
				return none{}, err
			}
		}
		if p.Fail {
			return none{}, isomer.NewError(409, "LATE", "half way")
		}
		return none{}, writer.End()
	}, isomer.NoParams)
	isomer.Action(s, "sendStream", func(ctx *isomer.Context, p struct {
		Action string
		N      int
	}) (value, error) {
		writer, call := ctx.SendStream(p.Action, none{}, true)
		for i := range p.N {
			if err := writer.Send(object{"n": i}); err != nil {
				break
			}
		}
		_ = writer.End()
		return call.Wait()
	}, isomer.NoParams)
	isomer.Action(s, "takeStream", func(ctx *isomer.Context, p callParams) (any, error) {
		reader, err := ctx.CallStream(p.Action, p.Params)
		if err != nil {
			return nil, err
		}
		return reading(reader), nil
	}, isomer.NoParams)
}

func main() {}
