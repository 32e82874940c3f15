package isomer

import (
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"
)

type getParams struct {
	ID   int      `json:"id" isomer:"min=1"`
	Lang string   `json:"lang,omitempty" isomer:"values=de|en"`
	Tags []string `json:"tags,omitempty"`
	Deep *struct{ X float64 }
}

func init() {
	s := New("shop", Version(2), Settings(map[string]any{"tax": 5}), Dependencies("users"))
	Action(s, "get", func(ctx *Context, p getParams) (map[string]any, error) {
		var settings struct{ Tax int }
		err := ctx.Settings(&settings)
		return map[string]any{"id": p.ID, "tax": settings.Tax}, err
	}, Cache{Keys: []string{"id"}}, Timeout(500), Limits{Fuel: 1000}, Keys{"x-own": []int{1}})
	Action(s, "echo", func(_ *Context, p Payload) (Payload, error) { return p, nil })
	Action(s, "text", func(_ *Context, p JSON) (JSON, error) { return p, nil })
	Action(s, "nothing", func(*Context, None) (None, error) { return None{}, nil })
	Action(s, "both", func(ctx *Context, _ None) ([]int, error) {
		one, two := ctx.Start("a.one", None{}), ctx.Start("a.two", None{})
		if err := All(one, two); err != nil {
			return nil, err
		}
		sums := make([]int, 2)
		return sums, errors.Join(one.Into(&sums[0]), two.Into(&sums[1]))
	})
	Action(s, "panics", func(*Context, None) (int, error) { var list []int; return list[3], nil })
	Action(s, "refused", func(*Context, None) (int, error) {
		return 0, ClientError(404, "NOT_FOUND", "there is none").With(map[string]int{"id": 1})
	})
	Action(s, "hooked", func(_ *Context, p map[string]any) ([]any, error) {
		if p["fail"] != nil {
			return nil, ClientError(400, "BAD", "bad")
		}
		return p["trace"].([]any), nil
	}, BeforeThis(func(_ *Context, p *map[string]any) error { return trace(*p, "own") }))
	Before(s, "*", func(_ *Context, p *any) error {
		if fields, ok := (*p).(map[string]any); ok {
			return trace(fields, "all")
		}
		return nil
	})
	Before(s, "other|hook*", func(_ *Context, p *map[string]any) error { return trace(*p, "some") })
	After(s, "hooked", func(_ *Context, _ Payload, result []any) ([]any, error) { return append(result, "after"), nil })
	OnError(s, "hooked", func(_ *Context, params Payload, err *Error) (any, error) {
		if strings.Contains(params.String(), "recover") {
			return "recovered " + err.Type, nil
		}
		return nil, err
	})
	Action(s, "fails", func(*Context, None) (int, error) { return 0, errors.New("first") },
		Fallback(func(_ *Context, _ None, cause *Error) (string, error) { return cause.Type, nil }))
	Action(s, "stream", func(ctx *Context, _ None) (None, error) {
		writer, err := ctx.RespondStream(false)
		if err != nil {
			return None{}, err
		}
		for chunk, err := range ctx.Stream().Chunks() {
			if err != nil {
				return None{}, err
			}
			if err := writer.Send([]byte(strings.ToUpper(string(chunk.Data)))); err != nil {
				return None{}, err
			}
		}
		return None{}, writer.End()
	})
	Event(s, "user.*", func(ctx *Context, user struct{ ID int }) error {
		seen = append(seen, ctx.Name())
		return nil
	}, Group("shops"))
	s.Started(func(ctx *Context) error { return ctx.Emit("shop.open", None{}, Options{"groups": "x"}) })
	Serve(s)
}

var seen []string

func trace(params map[string]any, name string) error {
	list, _ := params["trace"].([]any)
	params["trace"] = append(list, name)
	return nil
}

func expect(t *testing.T, seen, expected any) {
	t.Helper()
	text := func(v any) string {
		made, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		return string(made)
	}
	if text(seen) != text(expected) {
		t.Fatalf("saw %s, not %s", text(seen), text(expected))
	}
}

func TestTypesBecomeASchema(t *testing.T) {
	schema := NewMock().Schema()
	get := schema["actions"].(map[string]any)["get"].(map[string]any)
	expect(t, get["params"], map[string]any{
		"id":   map[string]any{"type": "number", "integer": true, "min": 1},
		"lang": map[string]any{"type": "enum", "values": []string{"de", "en"}, "optional": true},
		"tags": map[string]any{"type": "array", "items": map[string]any{"type": "string"}, "optional": true},
		"Deep": map[string]any{
			"type": "object", "optional": true, "nullable": true,
			"props": map[string]any{"X": map[string]any{"type": "number"}},
		},
	})
	expect(t, get["isomer"], map[string]any{"limits": map[string]any{"fuel": 1000}})
	expect(t, schema["events"], map[string]any{"user.*": map[string]any{"group": "shops"}})
	expect(t, schema["isomer"].(map[string]any)["lifecycle"], []string{"started"})
	if get["params"] == nil || reflect.DeepEqual(get["x-own"], nil) {
		t.Fatal("keys are missing")
	}
}

func TestPayloadsPass(t *testing.T) {
	mock := NewMock()
	for _, text := range []string{`null`, `0`, `"ü😀"`, `[[],{}]`} {
		var out JSON
		if err := mock.Call("text", JSON(text), &out); err != nil || string(out) != text {
			t.Fatal(out, err)
		}
	}
	var raw []byte
	if err := mock.Call("echo", []byte{0, 255}, &raw); err != nil || len(raw) != 2 {
		t.Fatal(raw, err)
	}
	var got map[string]any
	if err := mock.Call("get", map[string]any{"id": 3}, &got); err != nil {
		t.Fatal(err)
	}
	expect(t, got, map[string]any{"id": 3, "tax": 5})
	var nothing Payload
	if err := mock.Call("nothing", None{}, &nothing); err != nil || nothing.Kind != Absent {
		t.Fatal(nothing, err)
	}
	err := mock.Call("get", JSON(`{"id":"x"}`), nil)
	if asError(err).Name != "ValidationError" {
		t.Fatal(err)
	}
}

func TestCallsInFlightAndErrors(t *testing.T) {
	mock := NewMock().OnCall("a.one", func(Payload, Options) (any, error) { return 1, nil })
	err := mock.Call("both", None{}, nil)
	if !errors.Is(err, &Error{Type: "SERVICE_NOT_FOUND"}) {
		t.Fatal(err)
	}
	mock.OnCall("a.two", func(Payload, Options) (any, error) { return 2, nil })
	var sums []int
	if err := mock.Call("both", None{}, &sums); err != nil {
		t.Fatal(err)
	}
	expect(t, sums, []int{1, 2})
	panicked := asError(mock.Call("panics", None{}, nil))
	if panicked.Type != "PANIC" || !strings.Contains(panicked.Stack, "isomer_test.go") {
		t.Fatal(panicked, panicked.Stack)
	}
	refused := asError(mock.Call("refused", None{}, nil))
	text, _ := json.Marshal(refused)
	var again Error
	if err := json.Unmarshal(text, &again); err != nil || again.CodeOr(0) != 404 {
		t.Fatal(err, again)
	}
	expect(t, again, *refused)
}

func TestHooksAndFallback(t *testing.T) {
	mock := NewMock()
	var list []string
	if err := mock.Call("hooked", JSON(`{}`), &list); err != nil {
		t.Fatal(err)
	}
	expect(t, list, []string{"all", "some", "own", "after"})
	var text string
	if err := mock.Call("hooked", JSON(`{"fail":1,"recover":1}`), &text); err != nil || text != "recovered BAD" {
		t.Fatal(text, err)
	}
	if mock.Call("hooked", JSON(`{"fail":1}`), nil) == nil {
		t.Fatal("it has to fail")
	}
	mock.Failed(ClientError(409, "FIRST", "first"))
	if err := mock.Call("fails|fallback", None{}, &text); err != nil || text != "FIRST" {
		t.Fatal(text, err)
	}
}

func TestEventsStreamsAndLifecycle(t *testing.T) {
	mock := NewMock()
	if err := mock.Start(); err != nil || mock.Events[0].Options["groups"] != "x" {
		t.Fatal(err, mock.Events)
	}
	if err := errors.Join(mock.Emit("user.made", JSON(`{"ID":1}`)), mock.Emit("user.made.twice", None{})); err != nil {
		t.Fatal(err)
	}
	expect(t, seen, []string{"user.made"})
	mock.WithStream([]byte("a"), []byte("b"))
	if err := mock.Call("stream", None{}, nil); err != nil {
		t.Fatal(err)
	}
	if written := mock.Streams[0]; !written.Ended || string(written.Chunks[1].Data) != "B" {
		t.Fatal(written)
	}
}
