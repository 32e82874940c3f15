//go:build wasip1

package isomer

// The imports of the world `service` as the canonical ABI has them: texts and lists are pointer and length,
// options and variants a number before what they hold, and results of more than one number are written to the
// place that the last parameter names.

import "unsafe"

//go:wasmimport isomer:service/broker@0.1.0 [method]context.id
func ctxID(self uint32, result unsafe.Pointer)

//go:wasmimport isomer:service/broker@0.1.0 [method]context.request-id
func ctxRequestID(self uint32, result unsafe.Pointer)

//go:wasmimport isomer:service/broker@0.1.0 [method]context.parent-id
func ctxParentID(self uint32, result unsafe.Pointer)

//go:wasmimport isomer:service/broker@0.1.0 [method]context.caller
func ctxCaller(self uint32, result unsafe.Pointer)

//go:wasmimport isomer:service/broker@0.1.0 [method]context.node-id
func ctxNodeID(self uint32, result unsafe.Pointer)

//go:wasmimport isomer:service/broker@0.1.0 [method]context.name
func ctxName(self uint32, result unsafe.Pointer)

//go:wasmimport isomer:service/broker@0.1.0 [method]context.event-type
func ctxEventType(self uint32, result unsafe.Pointer)

//go:wasmimport isomer:service/broker@0.1.0 [method]context.event-groups
func ctxEventGroups(self uint32, result unsafe.Pointer)

//go:wasmimport isomer:service/broker@0.1.0 [method]context.meta
func ctxMeta(self uint32, result unsafe.Pointer)

//go:wasmimport isomer:service/broker@0.1.0 [method]context.headers
func ctxHeaders(self uint32, result unsafe.Pointer)

//go:wasmimport isomer:service/broker@0.1.0 [method]context.remaining-time
func ctxRemainingTime(self uint32, result unsafe.Pointer)

//go:wasmimport isomer:service/broker@0.1.0 [method]context.cause
func ctxCause(self uint32, result unsafe.Pointer)

//go:wasmimport isomer:service/broker@0.1.0 [method]context.stream
func ctxStream(self uint32, result unsafe.Pointer)

//go:wasmimport isomer:service/broker@0.1.0 [method]context.level
func ctxLevel(self uint32) uint32

//go:wasmimport isomer:service/broker@0.1.0 [method]context.set-meta
func ctxSetMeta(self, p, n uint32, result unsafe.Pointer)

//go:wasmimport isomer:service/broker@0.1.0 [method]context.set-response-headers
func ctxSetResponseHeaders(self, p, n uint32, result unsafe.Pointer)

//go:wasmimport isomer:service/broker@0.1.0 [method]context.respond-stream
func ctxRespondStream(self, objectMode uint32, result unsafe.Pointer)

//go:wasmimport isomer:service/broker@0.1.0 [method]context.call
func ctxCall(self, actionP, actionN, kind, paramsP, paramsN, given, optionsP, optionsN uint32, result unsafe.Pointer)

//go:wasmimport isomer:service/broker@0.1.0 [method]context.start-call
func ctxStartCall(self, actionP, actionN, kind, paramsP, paramsN, given, optionsP, optionsN uint32) uint32

//go:wasmimport isomer:service/broker@0.1.0 [method]context.start-stream-call
func ctxStartStreamCall(self, actionP, actionN, kind, paramsP, paramsN, given, optionsP, optionsN, objectMode uint32, result unsafe.Pointer)

//go:wasmimport isomer:service/broker@0.1.0 [method]context.mcall
func ctxMcall(self, callsP, callsN, given, optionsP, optionsN uint32, result unsafe.Pointer)

//go:wasmimport isomer:service/broker@0.1.0 [method]context.emit
func ctxEmit(self, eventP, eventN, kind, dataP, dataN, given, optionsP, optionsN uint32, result unsafe.Pointer)

//go:wasmimport isomer:service/broker@0.1.0 [method]context.broadcast
func ctxBroadcast(self, eventP, eventN, kind, dataP, dataN, given, optionsP, optionsN uint32, result unsafe.Pointer)

//go:wasmimport isomer:service/broker@0.1.0 [method]context.broadcast-local
func ctxBroadcastLocal(self, eventP, eventN, kind, dataP, dataN, given, optionsP, optionsN uint32, result unsafe.Pointer)

//go:wasmimport isomer:service/broker@0.1.0 [method]context.wait-for-services
func ctxWaitForServices(self, p, n, given, timeout uint32, result unsafe.Pointer)

//go:wasmimport isomer:service/broker@0.1.0 [resource-drop]context
func ctxDrop(self uint32)

//go:wasmimport isomer:service/broker@0.1.0 [method]pending-call.take
func pendingTake(self uint32, result unsafe.Pointer)

//go:wasmimport isomer:service/broker@0.1.0 [method]pending-call.take-stream
func pendingTakeStream(self uint32, result unsafe.Pointer)

//go:wasmimport isomer:service/broker@0.1.0 [resource-drop]pending-call
func pendingDrop(self uint32)

//go:wasmimport isomer:service/broker@0.1.0 wait-any
func brokerWaitAny(p, n uint32, result unsafe.Pointer)

//go:wasmimport isomer:service/streams@0.1.0 [method]reader.object-mode
func readerObjectMode(self uint32) uint32

//go:wasmimport isomer:service/streams@0.1.0 [method]reader.read
func readerRead(self uint32, result unsafe.Pointer)

//go:wasmimport isomer:service/streams@0.1.0 [resource-drop]reader
func readerDrop(self uint32)

//go:wasmimport isomer:service/streams@0.1.0 [method]writer.object-mode
func writerObjectMode(self uint32) uint32

//go:wasmimport isomer:service/streams@0.1.0 [method]writer.write
func writerWrite(self, kind, p, n uint32, result unsafe.Pointer)

//go:wasmimport isomer:service/streams@0.1.0 [method]writer.end
func writerEnd(self uint32, result unsafe.Pointer)

//go:wasmimport isomer:service/streams@0.1.0 [method]writer.fail
func writerFail(params unsafe.Pointer)

//go:wasmimport isomer:service/streams@0.1.0 [resource-drop]writer
func writerDrop(self uint32)

//go:wasmimport isomer:service/logger@0.1.0 log
func loggerLog(level, p, n, given, fieldsP, fieldsN uint32)

//go:wasmimport isomer:service/logger@0.1.0 enabled
func loggerEnabled(level uint32) uint32

//go:wasmimport isomer:service/config@0.1.0 settings
func configSettings(result unsafe.Pointer)

//go:wasmimport isomer:service/config@0.1.0 service
func configService(result unsafe.Pointer)

//go:wasmimport isomer:service/config@0.1.0 node-id
func configNodeID(result unsafe.Pointer)

//go:wasmimport isomer:service/config@0.1.0 namespace
func configNamespace(result unsafe.Pointer)

//go:wasmimport isomer:service/cacher@0.1.0 enabled
func cacheEnabled() uint32

//go:wasmimport isomer:service/cacher@0.1.0 get
func cacheGet(p, n uint32, result unsafe.Pointer)

//go:wasmimport isomer:service/cacher@0.1.0 get-with-ttl
func cacheGetWithTTL(p, n uint32, result unsafe.Pointer)

//go:wasmimport isomer:service/cacher@0.1.0 set
func cacheSet(keyP, keyN, kind, p, n, given uint32, ttl float64, result unsafe.Pointer)

//go:wasmimport isomer:service/cacher@0.1.0 del
func cacheDel(p, n uint32, result unsafe.Pointer)

//go:wasmimport isomer:service/cacher@0.1.0 clean
func cacheClean(p, n uint32, result unsafe.Pointer)
