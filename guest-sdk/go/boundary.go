package isomer

// boundary is what a node offers to a running handler: the imports of the component, or a mock.
type boundary interface {
	id() string
	requestID() string
	parentID() (string, bool)
	caller() (string, bool)
	level() uint32
	nodeID() string
	name() string
	eventType() (uint8, bool)
	eventGroups() []string
	meta() []byte
	setMeta(object []byte) error
	headers() []byte
	setResponseHeaders(object []byte) error
	remainingTime() (uint32, bool)
	cause() *Error
	stream() source
	respondStream(objectMode bool) (sink, error)
	call(action string, params Payload, options []byte) (Payload, error)
	startCall(action string, params Payload, options []byte) pending
	startStreamCall(action string, params Payload, options []byte, objectMode bool) (sink, pending)
	mcall(calls, options []byte) (Payload, error)
	send(kind uint8, event string, data Payload, options []byte) error
	waitForServices(services []string, timeout *uint32) error
	waitAny(calls []pending) int

	log(level uint8, message string, fields []byte)
	logEnabled(level uint8) bool
	settings() []byte
	service() string
	localNodeID() string
	namespace() string
	cacherEnabled() bool
	cacherGet(key string) (Payload, bool, error)
	cacherGetWithTTL(key string) (Payload, *float64, bool, error)
	cacherSet(key string, value Payload, ttl *float64) error
	cacherDel(keys []string) error
	cacherClean(patterns []string) error
}

// pending is a call in flight.
type pending interface {
	take() (Payload, error, bool)
	takeStream() (source, error)
	drop()
}

// source is the end of a stream that is read.
type source interface {
	objectMode() bool
	read() (Payload, bool, error)
	drop()
}

// sink is the end of a stream that is written.
type sink interface {
	objectMode() bool
	write(chunk Payload) error
	end() error
	fail(err *Error)
	drop()
}
