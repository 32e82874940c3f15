// Package isomer writes Isomer services in Go.
//
// A service is declared in an init function of package main; build.py makes a WebAssembly component of it
// that any Isomer node runs and any Moleculer node can call:
//
//	package main
//
//	import "isomer"
//
//	type Welcome struct {
//		Name string `json:"name" isomer:"min=2"`
//	}
//
//	func init() {
//		greeter := isomer.New("greeter", isomer.Version(2))
//		isomer.Action(greeter, "welcome", func(ctx *isomer.Context, p Welcome) (string, error) {
//			return "Hello, " + p.Name + "!", nil
//		}, isomer.Cache{})
//		isomer.Serve(greeter)
//	}
//
//	func main() {} // A component has no main program: the node calls its handlers.
//
// A node runs one handler at a time in an instance, and several instances; variables of the package are those
// of one instance. NewMock runs a service in an ordinary unit test (go test).
//
// A broker call waits in the node, and all goroutines of the instance wait with it: calls that should be in
// flight at once are begun by Context.Start and awaited by All. Goroutines that do not call the broker work
// as usual, as long as the handler waits for them.
package isomer

// SDKVersion is told to nodes in the schema.
const SDKVersion = "0.1.0"
