package isomer

import (
	"encoding/json"
	"time"
)

// Context is that of one running action, event or lifecycle handler. It is over when the handler has
// returned. Its fields are read from the node when they are asked for.
type Context struct {
	node   boundary
	locals map[string]any
}

// Options of a call or an event under Moleculer's names: timeout (milliseconds), retries, nodeID, meta,
// headers, requestID, fallbackResponse, tracking; groups, throwError.
type Options map[string]any

// ID of this call or event.
func (c *Context) ID() string { return c.node.id() }

// RequestID is shared by all calls and events of one chain.
func (c *Context) RequestID() string { return c.node.requestID() }

// ParentID is the ID of the context that caused this one; empty at the root of a chain.
func (c *Context) ParentID() string { id, _ := c.node.parentID(); return id }

// Caller is the full name of the calling service, such as v2.posts; empty when no service is the caller.
func (c *Context) Caller() string { name, _ := c.node.caller(); return name }

// Level says how deep this context stands in its chain; 1 at the root.
func (c *Context) Level() int { return int(c.node.level()) }

// NodeID is the node that the call or event came from.
func (c *Context) NodeID() string { return c.node.nodeID() }

// Name is the full name of the running action, or the name under which the event was sent.
func (c *Context) Name() string { return c.node.name() }

// EventType says how the event was sent: emit, broadcast or broadcastLocal; empty in an action.
func (c *Context) EventType() string {
	kind, ok := c.node.eventType()
	if !ok || int(kind) >= len(eventTypes) {
		return ""
	}
	return eventTypes[kind]
}

var eventTypes = [...]string{"emit", "broadcast", "broadcastLocal"}

// EventGroups are the groups that the event is for; empty when it is for all of them.
func (c *Context) EventGroups() []string { return c.node.eventGroups() }

// RemainingTime is what is left until the caller gives up or the node stops this handler; false when there is
// no limit.
func (c *Context) RemainingTime() (time.Duration, bool) {
	left, ok := c.node.remainingTime()
	return time.Duration(left) * time.Millisecond, ok
}

// Meta reads the meta of the chain into what v points to.
func (c *Context) Meta(v any) error { return json.Unmarshal(c.node.meta(), v) }

// SetMeta puts the keys of an object over the meta. The caller sees them when this handler has ended, also
// when it fails; calls made from now on carry them.
func (c *Context) SetMeta(object any) error {
	text, err := json.Marshal(object)
	if err != nil {
		return err
	}
	return c.node.setMeta(text)
}

// Headers reads the headers of the request into what v points to.
func (c *Context) Headers(v any) error { return json.Unmarshal(c.node.headers(), v) }

// SetResponseHeaders puts the keys of an object over the headers of the response.
func (c *Context) SetResponseHeaders(object any) error {
	text, err := json.Marshal(object)
	if err != nil {
		return err
	}
	return c.node.setResponseHeaders(text)
}

// Settings reads the settings of the service, overlaid with the operator's, into what v points to.
func (c *Context) Settings(v any) error { return json.Unmarshal(c.node.settings(), v) }

// Cause is the error for which a fallback runs; nil everywhere else.
func (c *Context) Cause() *Error { return c.node.cause() }

// SetLocal keeps a value until this handler has ended: how a hook hands the action what it found.
func (c *Context) SetLocal(name string, value any) {
	if c.locals == nil {
		c.locals = map[string]any{}
	}
	c.locals[name] = value
}

// Local is a value that was kept by SetLocal; nil when there is none.
func (c *Context) Local(name string) any { return c.locals[name] }

// Service is the full name of this service, such as v2.posts.
func (c *Context) Service() string { return c.node.service() }

// LocalNodeID is the node on which this service runs.
func (c *Context) LocalNodeID() string { return c.node.localNodeID() }

// Namespace of the mesh; empty for the default one.
func (c *Context) Namespace() string { return c.node.namespace() }

// Logger is the log of the node.
func (c *Context) Logger() Logger { return Logger{node: c.node} }

// Cacher is the cacher of the node.
func (c *Context) Cacher() Cacher { return Cacher{c.node} }

// Emit sends an event to one instance of every group that listens.
func (c *Context) Emit(event string, data any, options ...Options) error {
	return c.send(0, event, data, options)
}

// Broadcast sends an event to every instance that listens, on all nodes.
func (c *Context) Broadcast(event string, data any, options ...Options) error {
	return c.send(1, event, data, options)
}

// BroadcastLocal sends an event to every instance that listens on this node.
func (c *Context) BroadcastLocal(event string, data any, options ...Options) error {
	return c.send(2, event, data, options)
}

func (c *Context) send(kind uint8, event string, data any, options []Options) error {
	payload, err := NewPayload(data)
	if err != nil {
		return err
	}
	text, err := optionsText(options)
	if err != nil {
		return err
	}
	return c.node.send(kind, event, payload, text)
}

// WaitForServices waits until all these services are available (full names), at most for a time; 0 is as
// long as this handler may run.
func (c *Context) WaitForServices(timeout time.Duration, services ...string) error {
	if timeout <= 0 {
		return c.node.waitForServices(services, nil)
	}
	ms := uint32(timeout.Milliseconds())
	return c.node.waitForServices(services, &ms)
}

// Stream is the stream that the caller sends beside the params; nil when there is none.
func (c *Context) Stream() *Reader { return reader(c.node.stream()) }

// RespondStream answers the caller at once with a stream. What the handler returns then is ignored; its error
// fails the stream.
func (c *Context) RespondStream(objectMode bool) (*Writer, error) {
	sink, err := c.node.respondStream(objectMode)
	if err != nil {
		return nil, err
	}
	return &Writer{sink}, nil
}

func optionsText(options []Options) ([]byte, error) {
	switch {
	case len(options) == 0 || len(options) == 1 && len(options[0]) == 0:
		return nil, nil
	case len(options) == 1:
		return json.Marshal(options[0])
	}
	all := Options{}
	for _, some := range options {
		for key, value := range some {
			all[key] = value
		}
	}
	return json.Marshal(all)
}
