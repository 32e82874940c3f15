//go:build wasip1

package isomer

import (
	"strings"
	"unsafe"
)

// node is the node of a component, by the handle of a context.
type node uint32

func (h node) text(read func(uint32, unsafe.Pointer)) string {
	m := marked()
	read(uint32(h), area())
	found := textAt(area(), 0)
	m.forget()
	return found
}

func (h node) optionText(read func(uint32, unsafe.Pointer)) (string, bool) {
	m := marked()
	read(uint32(h), area())
	there := flag(area(), 0)
	found := optionTextAt(area(), 0)
	m.forget()
	return found, there
}

func (h node) bytes(read func(uint32, unsafe.Pointer)) []byte {
	m := marked()
	read(uint32(h), area())
	found := copied(u32(area(), 0), u32(area(), 4))
	m.forget()
	return found
}

func global(read func(unsafe.Pointer)) []byte {
	m := marked()
	read(area())
	found := copied(u32(area(), 0), u32(area(), 4))
	m.forget()
	return found
}

// outcome reads a result without a value.
func outcome(m mark) error {
	defer m.forget()
	if flag(area(), 0) {
		return failureAt(area(), 4)
	}
	return nil
}

// payloadOutcome reads a result with a payload.
func payloadOutcome(m mark) (Payload, error) {
	defer m.forget()
	if flag(area(), 0) {
		return Payload{}, failureAt(area(), 4)
	}
	return payloadAt(area(), 4), nil
}

func (h node) id() string                  { return h.text(ctxID) }
func (h node) requestID() string           { return h.text(ctxRequestID) }
func (h node) parentID() (string, bool)    { return h.optionText(ctxParentID) }
func (h node) caller() (string, bool)      { return h.optionText(ctxCaller) }
func (h node) level() uint32               { return ctxLevel(uint32(h)) }
func (h node) nodeID() string              { return h.text(ctxNodeID) }
func (h node) name() string                { return h.text(ctxName) }
func (h node) meta() []byte                { return h.bytes(ctxMeta) }
func (h node) headers() []byte             { return h.bytes(ctxHeaders) }
func (h node) settings() []byte            { return global(configSettings) }
func (h node) service() string             { return string(global(configService)) }
func (h node) localNodeID() string         { return string(global(configNodeID)) }
func (h node) namespace() string           { return string(global(configNamespace)) }
func (h node) cacherEnabled() bool         { return cacheEnabled() != 0 }
func (h node) logEnabled(level uint8) bool { return loggerEnabled(uint32(level)) != 0 }

func (h node) eventType() (uint8, bool) {
	ctxEventType(uint32(h), area())
	return *(*uint8)(unsafe.Add(area(), 1)), flag(area(), 0)
}

func (h node) eventGroups() []string {
	m := marked()
	ctxEventGroups(uint32(h), area())
	list, n := at(u32(area(), 0)), u32(area(), 4)
	groups := make([]string, n)
	for i := range groups {
		groups[i] = textAt(list, uintptr(i)*8)
	}
	m.forget()
	return groups
}

func (h node) setMeta(object []byte) error {
	m := marked()
	ctxSetMeta(uint32(h), pointer(object), uint32(len(object)), area())
	return outcome(m)
}

func (h node) setResponseHeaders(object []byte) error {
	m := marked()
	ctxSetResponseHeaders(uint32(h), pointer(object), uint32(len(object)), area())
	return outcome(m)
}

func (h node) remainingTime() (uint32, bool) {
	ctxRemainingTime(uint32(h), area())
	return u32(area(), 4), flag(area(), 0)
}

func (h node) cause() *Error {
	m := marked()
	defer m.forget()
	ctxCause(uint32(h), area())
	if !flag(area(), 0) {
		return nil
	}
	return failureAt(area(), 4)
}

func (h node) stream() source {
	ctxStream(uint32(h), area())
	if !flag(area(), 0) {
		return nil
	}
	return readerHandle(u32(area(), 4))
}

func (h node) respondStream(objectMode bool) (sink, error) {
	m := marked()
	ctxRespondStream(uint32(h), number(objectMode), area())
	if err := outcome(m); err != nil {
		return nil, err
	}
	return writerHandle(u32(area(), 4)), nil
}

func (h node) call(action string, params Payload, options []byte) (Payload, error) {
	action = strings.ToValidUTF8(action, "?")
	m := marked()
	ctxCall(uint32(h), textPointer(action), uint32(len(action)), uint32(params.Kind), pointer(params.Data),
		uint32(len(params.Data)), number(options != nil), pointer(options), uint32(len(options)), area())
	return payloadOutcome(m)
}

func (h node) startCall(action string, params Payload, options []byte) pending {
	action = strings.ToValidUTF8(action, "?")
	return pendingHandle(ctxStartCall(uint32(h), textPointer(action), uint32(len(action)),
		uint32(params.Kind), pointer(params.Data), uint32(len(params.Data)),
		number(options != nil), pointer(options), uint32(len(options))))
}

func (h node) startStreamCall(action string, params Payload, options []byte, objectMode bool) (sink, pending) {
	action = strings.ToValidUTF8(action, "?")
	ctxStartStreamCall(uint32(h), textPointer(action), uint32(len(action)), uint32(params.Kind),
		pointer(params.Data), uint32(len(params.Data)), number(options != nil), pointer(options),
		uint32(len(options)), number(objectMode), area())
	return writerHandle(u32(area(), 0)), pendingHandle(u32(area(), 4))
}

func (h node) mcall(calls, options []byte) (Payload, error) {
	m := marked()
	ctxMcall(uint32(h), pointer(calls), uint32(len(calls)), number(options != nil), pointer(options),
		uint32(len(options)), area())
	return payloadOutcome(m)
}

func (h node) send(kind uint8, event string, data Payload, options []byte) error {
	event = strings.ToValidUTF8(event, "?")
	send := [...]func(uint32, uint32, uint32, uint32, uint32, uint32, uint32, uint32, uint32, unsafe.Pointer){
		ctxEmit, ctxBroadcast, ctxBroadcastLocal,
	}[kind]
	m := marked()
	send(uint32(h), textPointer(event), uint32(len(event)), uint32(data.Kind), pointer(data.Data),
		uint32(len(data.Data)), number(options != nil), pointer(options), uint32(len(options)), area())
	return outcome(m)
}

func (h node) waitForServices(services []string, timeout *uint32) error {
	list := texts(services)
	var ms uint32
	if timeout != nil {
		ms = *timeout
	}
	m := marked()
	ctxWaitForServices(uint32(h), first32(list), uint32(len(services)), number(timeout != nil), ms, area())
	return outcome(m)
}

func (h node) waitAny(calls []pending) int {
	handles := make([]uint32, len(calls))
	for i, call := range calls {
		if handle, ok := call.(pendingHandle); ok {
			handles[i] = uint32(handle)
		}
	}
	brokerWaitAny(first32(handles), uint32(len(handles)), area())
	return int(u32(area(), 4))
}

func (h node) log(level uint8, message string, fields []byte) {
	message = strings.ToValidUTF8(message, "?")
	loggerLog(uint32(level), textPointer(message), uint32(len(message)), number(fields != nil),
		pointer(fields), uint32(len(fields)))
}

func (h node) cacherGet(key string) (Payload, bool, error) {
	m := marked()
	defer m.forget()
	cacheGet(textPointer(key), uint32(len(key)), area())
	if flag(area(), 0) {
		return Payload{}, false, failureAt(area(), 4)
	}
	if !flag(area(), 4) {
		return Payload{}, false, nil
	}
	return payloadAt(area(), 8), true, nil
}

func (h node) cacherGetWithTTL(key string) (Payload, *float64, bool, error) {
	m := marked()
	defer m.forget()
	cacheGetWithTTL(textPointer(key), uint32(len(key)), area())
	if flag(area(), 0) {
		return Payload{}, nil, false, failureAt(area(), 8)
	}
	if !flag(area(), 8) {
		return Payload{}, nil, false, nil
	}
	var ttl *float64
	if flag(area(), 32) {
		seconds := *(*float64)(unsafe.Add(area(), 40))
		ttl = &seconds
	}
	return payloadAt(area(), 16), ttl, true, nil
}

func (h node) cacherSet(key string, value Payload, ttl *float64) error {
	var seconds float64
	if ttl != nil {
		seconds = *ttl
	}
	m := marked()
	cacheSet(textPointer(key), uint32(len(key)), uint32(value.Kind), pointer(value.Data),
		uint32(len(value.Data)), number(ttl != nil), seconds, area())
	return outcome(m)
}

func (h node) cacherDel(keys []string) error {
	list := texts(keys)
	m := marked()
	cacheDel(first32(list), uint32(len(keys)), area())
	return outcome(m)
}

func (h node) cacherClean(patterns []string) error {
	list := texts(patterns)
	m := marked()
	cacheClean(first32(list), uint32(len(patterns)), area())
	return outcome(m)
}

// pendingHandle is a call in flight.
type pendingHandle uint32

func (h pendingHandle) take() (Payload, error, bool) {
	m := marked()
	defer m.forget()
	pendingTake(uint32(h), area())
	switch {
	case !flag(area(), 0):
		return Payload{}, nil, false
	case flag(area(), 4):
		return Payload{}, failureAt(area(), 8), true
	default:
		return payloadAt(area(), 8), nil, true
	}
}

func (h pendingHandle) takeStream() (source, error) {
	m := marked()
	pendingTakeStream(uint32(h), area())
	if err := outcome(m); err != nil {
		return nil, err
	}
	if !flag(area(), 4) {
		return nil, nil
	}
	return readerHandle(u32(area(), 8)), nil
}

func (h pendingHandle) drop() { pendingDrop(uint32(h)) }

// readerHandle is the end of a stream that is read.
type readerHandle uint32

func (h readerHandle) objectMode() bool { return readerObjectMode(uint32(h)) != 0 }

func (h readerHandle) read() (Payload, bool, error) {
	m := marked()
	defer m.forget()
	readerRead(uint32(h), area())
	if flag(area(), 0) {
		return Payload{}, false, failureAt(area(), 4)
	}
	if !flag(area(), 4) {
		return Payload{}, false, nil
	}
	return payloadAt(area(), 8), true, nil
}

func (h readerHandle) drop() { readerDrop(uint32(h)) }

// writerHandle is the end of a stream that is written.
type writerHandle uint32

func (h writerHandle) objectMode() bool { return writerObjectMode(uint32(h)) != 0 }

func (h writerHandle) write(chunk Payload) error {
	m := marked()
	writerWrite(uint32(h), uint32(chunk.Kind), pointer(chunk.Data), uint32(len(chunk.Data)), area())
	return outcome(m)
}

func (h writerHandle) end() error {
	m := marked()
	writerEnd(uint32(h), area())
	return outcome(m)
}

func (h writerHandle) fail(err *Error) {
	params := new([10]uint64)
	err = valid(err)
	put32(unsafe.Pointer(params), 0, uint32(h))
	putFailure(unsafe.Pointer(params), 4, err)
	writerFail(unsafe.Pointer(params))
}

func (h writerHandle) drop() { writerDrop(uint32(h)) }

func number(truth bool) uint32 {
	if truth {
		return 1
	}
	return 0
}

// texts is a list of texts as the boundary has it: pairs of pointer and length.
func texts(list []string) []uint32 {
	pairs := make([]uint32, 0, 2*len(list))
	for _, text := range list {
		pairs = append(pairs, textPointer(text), uint32(len(text)))
	}
	return pairs
}

func first32(list []uint32) uint32 { return uint32(uintptr(unsafe.Pointer(unsafe.SliceData(list)))) }
