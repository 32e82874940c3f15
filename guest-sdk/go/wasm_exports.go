//go:build wasip1

package isomer

import "unsafe"

// The exports of the world `service`. Results are written to one place, which the node reads before it enters
// this component again; what they point to is kept until then.

//go:wasmexport isomer:service/handler@0.1.0#describe
func exportDescribe() uint32 {
	if serving == nil {
		panic("isomer: no service is declared; call isomer.Serve in a function init")
	}
	schema, err := serving.describe()
	if err != nil {
		panic("isomer: the schema has no JSON form: " + err.Error())
	}
	exporting = schema
	out := unsafe.Pointer(&exported)
	put32(out, 0, pointer(schema))
	put32(out, 4, uint32(len(schema)))
	return leave(out)
}

//go:wasmexport isomer:service/handler@0.1.0#started
func exportStarted(handle uint32) uint32 {
	ctx := Context{node: node(handle)}
	err := serving.runStarted(&ctx)
	return leaveWith(handle, err)
}

//go:wasmexport isomer:service/handler@0.1.0#stopped
func exportStopped(handle uint32) uint32 {
	ctx := Context{node: node(handle)}
	err := serving.runStopped(&ctx)
	return leaveWith(handle, err)
}

//go:wasmexport isomer:service/handler@0.1.0#call-action
func exportCallAction(handle, actionP, actionN, kind, paramsP, paramsN uint32) uint32 {
	ctx := Context{node: node(handle)}
	key := unsafe.String((*byte)(at(actionP)), actionN)
	result, err := serving.callAction(&ctx, key, payloadOf(kind, paramsP, paramsN))
	if err != nil {
		return leaveWith(handle, err)
	}
	ctxDrop(handle)
	exporting = result.Data
	out := unsafe.Pointer(&exported)
	putFlag(out, 0, false)
	putPayload(out, 4, result)
	return leave(out)
}

//go:wasmexport isomer:service/handler@0.1.0#handle-event
func exportHandleEvent(handle, eventP, eventN, kind, dataP, dataN uint32) uint32 {
	ctx := Context{node: node(handle)}
	key := unsafe.String((*byte)(at(eventP)), eventN)
	err := serving.handleEvent(&ctx, key, payloadOf(kind, dataP, dataN))
	return leaveWith(handle, err)
}

// payloadOf is what the node has passed; it lies in the arena until the handler has ended.
func payloadOf(kind, p, n uint32) Payload {
	if Kind(kind) == Absent {
		return Payload{}
	}
	return Payload{Kind(kind), view(p, n)}
}

// leaveWith ends an export with a failure or with nothing.
func leaveWith(handle uint32, err error) uint32 {
	ctxDrop(handle)
	out := unsafe.Pointer(&exported)
	putFlag(out, 0, err != nil)
	if err != nil {
		failure := valid(asError(err))
		exporting = failure
		putFailure(out, 4, failure)
	}
	return leave(out)
}

func leave(out unsafe.Pointer) uint32 {
	_ = 0
	return uint32(uintptr(out))
}
