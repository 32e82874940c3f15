package isomer

import "encoding/json"

// Call calls an action and reads its result.
//
//	user, err := isomer.Call[User](ctx, "users.get", map[string]any{"id": 5}, isomer.Options{"timeout": 2000})
func Call[R any](c *Context, action string, params any, options ...Options) (R, error) {
	var result R
	payload, err := c.Call(action, params, options...)
	if err != nil {
		return result, err
	}
	return result, unexpected(action, payload.read(&result))
}

// Call calls an action and gives its result unread. None{} as params means none.
func (c *Context) Call(action string, params any, options ...Options) (Payload, error) {
	payload, text, err := message(params, options)
	if err != nil {
		return Payload{}, err
	}
	return c.node.call(action, payload, text)
}

// CallOwn calls an action of this very service by its own name, also a private one, with all that the node
// does around a call.
func (c *Context) CallOwn(action string, params any, options ...Options) (Payload, error) {
	var settings struct {
		NoPrefix bool `json:"$noServiceNamePrefix"`
	}
	if c.Settings(&settings) == nil && settings.NoPrefix {
		return c.Call(action, params, options...)
	}
	return c.Call(c.Service()+"."+action, params, options...)
}

// Pending is a call in flight. One that nobody waits for is abandoned when the handler ends.
type Pending struct {
	node   boundary
	action string
	call   pending
	done   bool
	result Payload
	err    error
}

// Start begins a call and does not wait.
func (c *Context) Start(action string, params any, options ...Options) *Pending {
	payload, text, err := message(params, options)
	if err != nil {
		return &Pending{action: action, done: true, err: err}
	}
	return &Pending{node: c.node, action: action, call: c.node.startCall(action, payload, text)}
}

// Wait waits for the result.
func (p *Pending) Wait() (Payload, error) {
	for !p.done {
		p.node.waitAny([]pending{p.call})
		p.collect()
	}
	return p.result, p.err
}

// Into waits for the result and reads it into what v points to.
func (p *Pending) Into(v any) error {
	payload, err := p.Wait()
	if err != nil {
		return err
	}
	return unexpected(p.action, payload.read(v))
}

// Drop abandons the call: nobody waits for its result any more.
func (p *Pending) Drop() {
	if !p.done {
		p.call.drop()
		p.done, p.err = true, NewError(500, "CALL_DROPPED", "the call to '"+p.action+"' was dropped")
	}
}

func (p *Pending) collect() {
	result, err, ok := p.call.take()
	if !ok {
		return
	}
	if err == nil && result.Kind == Absent {
		// A stream in the place of a value would else be lost without a word.
		if stream, _ := p.call.takeStream(); stream != nil {
			stream.drop()
			err = NewError(422, "INVALID_PAYLOAD", "The result of the call is a stream; ask for it with CallStream.")
		}
	}
	p.call.drop()
	p.done, p.result, p.err = true, result, err
}

// All waits until all these calls are done; the first error in their order is returned.
func All(calls ...*Pending) error {
	open := make([]*Pending, 0, len(calls))
	for _, call := range calls {
		if !call.done {
			open = append(open, call)
		}
	}
	for len(open) > 0 {
		raw := make([]pending, len(open))
		for i, call := range open {
			raw[i] = call.call
		}
		open[0].node.waitAny(raw)
		left := open[:0]
		for _, call := range open {
			if call.collect(); !call.done {
				left = append(left, call)
			}
		}
		open = left
	}
	for _, call := range calls {
		if call.err != nil {
			return call.err
		}
	}
	return nil
}

// Item is one call of MCall.
type Item struct {
	Action  string  `json:"action"`
	Params  any     `json:"params,omitempty"`
	Options Options `json:"options,omitempty"`
}

// MCall makes several calls at once: a []Item gives an array of results, a map[string]Item an object. With
// the option settled it never fails: each result is then {"status":"fulfilled","value":…} or
// {"status":"rejected","reason":{…}}.
func (c *Context) MCall(calls any, options ...Options) (Payload, error) {
	list, err := json.Marshal(calls)
	if err != nil {
		return Payload{}, err
	}
	text, err := optionsText(options)
	if err != nil {
		return Payload{}, err
	}
	return c.node.mcall(list, text)
}

// CallStream calls an action that answers with a stream.
func (c *Context) CallStream(action string, params any, options ...Options) (*Reader, error) {
	payload, text, err := message(params, options)
	if err != nil {
		return nil, err
	}
	call := c.node.startCall(action, payload, text)
	defer call.drop()
	for {
		c.node.waitAny([]pending{call})
		if _, err, ok := call.take(); ok {
			if err != nil {
				return nil, err
			}
			break
		}
	}
	stream, err := call.takeStream()
	if err != nil {
		return nil, err
	}
	if stream == nil {
		return nil, NewError(422, "INVALID_PAYLOAD", "The call was not answered with a stream.")
	}
	return reader(stream), nil
}

// SendStream calls an action and sends a stream beside the params: write to it, end it, and wait for the call.
func (c *Context) SendStream(action string, params any, objectMode bool, options ...Options) (*Writer, *Pending) {
	payload, text, err := message(params, options)
	if err != nil {
		return &Writer{closed{}}, &Pending{action: action, done: true, err: err}
	}
	sink, call := c.node.startStreamCall(action, payload, text, objectMode)
	return &Writer{sink}, &Pending{node: c.node, action: action, call: call}
}

func message(params any, options []Options) (Payload, []byte, error) {
	payload, err := NewPayload(params)
	if err != nil {
		return payload, nil, err
	}
	text, err := optionsText(options)
	return payload, text, err
}

func unexpected(action string, err error) error {
	if err == nil {
		return nil
	}
	return NewError(500, "UNEXPECTED_FORM", "the result of '"+action+"' cannot be read: "+err.Error())
}
