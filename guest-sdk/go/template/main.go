// The service {{name}}.
package main

import "isomer"

type hello struct {
	Name string `json:"name" isomer:"min=1"`
}

func init() {
	s := isomer.New("{{name}}", isomer.Settings(map[string]any{"greeting": "Hello"}))
	isomer.Action(s, "hello", greet)
	isomer.Event(s, "user.*", func(ctx *isomer.Context, user any) error {
		ctx.Logger().Field("user", user).Info("a user: ", ctx.Name())
		return nil
	})
	isomer.Serve(s)
}

// greet greets somebody, and tells everybody that it did.
func greet(ctx *isomer.Context, p hello) (string, error) {
	var settings struct{ Greeting string }
	if err := ctx.Settings(&settings); err != nil {
		return "", err
	}
	if err := ctx.Emit("{{name}}.greeted", p); err != nil {
		return "", err
	}
	return settings.Greeting + ", " + p.Name + "!", nil
}

func main() {} // The node calls the handlers.
