// Moleculer's error classes, with the constructors, codes and types that they have there, and the way from
// plain fields back to an instance of the class.
//
// moleculer: src/errors.js

class ExtendableError extends Error {
	constructor(message = "") {
		super(message);
		// As in Moleculer neither is enumerable, so that logging an error shows its own fields only.
		hide(this, "message", message);
		hide(this, "name", this.constructor.name);
	}
}

function hide(target, key, value) {
	Object.defineProperty(target, key, { configurable: true, enumerable: false, writable: true, value });
}

class TimeoutError extends ExtendableError {}

class MoleculerError extends ExtendableError {
	constructor(message, code, type, data) {
		super(message);
		this.code = code || 500;
		this.type = type;
		this.data = data;
		this.retryable = false;
	}
}

class MoleculerRetryableError extends MoleculerError {
	constructor(message, code, type, data) {
		super(message, code, type, data);
		this.retryable = true;
	}
}

class MoleculerServerError extends MoleculerRetryableError {}

class MoleculerClientError extends MoleculerError {
	constructor(message, code, type, data) {
		super(message, code || 400, type, data);
	}
}

class BrokerDisconnectedError extends MoleculerRetryableError {
	constructor() {
		super(
			"The broker's transporter has disconnected. Please try again when a connection is reestablished.",
			502,
			"BAD_GATEWAY"
		);
		this.stack = "";
	}
}

class ServiceNotFoundError extends MoleculerRetryableError {
	constructor(data = {}) {
		super(notFound(data), 404, "SERVICE_NOT_FOUND", data);
	}
}

function notFound({ action, nodeID, service, version }) {
	if (service) return `Service '${version ? `${version}.` : ""}${service}' not found.`;
	if (action && nodeID) return `Service '${action}' is not found on '${nodeID}' node.`;
	return action ? `Service '${action}' is not found.` : undefined;
}

class ServiceNotAvailableError extends MoleculerRetryableError {
	constructor(data) {
		const where = data.nodeID ? ` on '${data.nodeID}' node` : "";
		super(`Service '${data.action}' is not available${where}.`, 404, "SERVICE_NOT_AVAILABLE", data);
	}
}

class RequestTimeoutError extends MoleculerRetryableError {
	constructor(data) {
		const text = `Request is timed out when call '${data.action}' action on '${data.nodeID}' node.`;
		super(text, 504, "REQUEST_TIMEOUT", data);
	}
}

class RequestSkippedError extends MoleculerError {
	constructor(data) {
		const text = `Calling '${data.action}' is skipped because timeout reached on '${data.nodeID}' node.`;
		super(text, 514, "REQUEST_SKIPPED", data);
	}
}

class RequestRejectedError extends MoleculerRetryableError {
	constructor(data) {
		const text = `Request is rejected when call '${data.action}' action on '${data.nodeID}' node.`;
		super(text, 503, "REQUEST_REJECTED", data);
	}
}

class QueueIsFullError extends MoleculerRetryableError {
	constructor(data) {
		const text = `Queue is full. Request '${data.action}' action on '${data.nodeID}' node is rejected.`;
		super(text, 429, "QUEUE_FULL", data);
	}
}

class ValidationError extends MoleculerClientError {
	constructor(message, type, data) {
		super(message, 422, type || "VALIDATION_ERROR", data);
	}
}

class MaxCallLevelError extends MoleculerError {
	constructor(data) {
		const text = `Request level is reached the limit (${data.level}) on '${data.nodeID}' node.`;
		super(text, 500, "MAX_CALL_LEVEL", data);
	}
}

class ServiceSchemaError extends MoleculerError {
	constructor(message, data) {
		super(message, 500, "SERVICE_SCHEMA_ERROR", data);
	}
}

class BrokerOptionsError extends MoleculerError {
	constructor(message, data) {
		super(message, 500, "BROKER_OPTIONS_ERROR", data);
	}
}

class GracefulStopTimeoutError extends MoleculerError {
	constructor(data) {
		const service = data && data.service;
		const text = service
			? `Unable to stop '${service.name}' service gracefully.`
			: "Unable to stop ServiceBroker gracefully.";
		const about = service ? { name: service.name, version: service.version } : undefined;
		super(text, 500, "GRACEFUL_STOP_TIMEOUT", about);
	}
}

class ProtocolVersionMismatchError extends MoleculerError {
	constructor(data) {
		super("Protocol version mismatch.", 500, "PROTOCOL_VERSION_MISMATCH", data);
	}
}

class InvalidPacketDataError extends MoleculerError {
	constructor(data) {
		super("Invalid packet data.", 500, "INVALID_PACKET_DATA", data);
	}
}

const classes = {
	ExtendableError,
	TimeoutError,
	MoleculerError,
	MoleculerRetryableError,
	MoleculerServerError,
	MoleculerClientError,
	ServiceNotFoundError,
	ServiceNotAvailableError,
	ValidationError,
	RequestTimeoutError,
	RequestSkippedError,
	RequestRejectedError,
	QueueIsFullError,
	MaxCallLevelError,
	ServiceSchemaError,
	BrokerOptionsError,
	GracefulStopTimeoutError,
	ProtocolVersionMismatchError,
	InvalidPacketDataError,
	BrokerDisconnectedError
};

/** Classes whose constructor takes (message, code, type, data); the others make these fields themselves. */
const OPEN = new Set([
	"MoleculerError",
	"MoleculerRetryableError",
	"MoleculerServerError",
	"MoleculerClientError"
]);

/** An instance of the class that a plain error names; `undefined` for a class that Moleculer does not have. */
export function recreateError(plain) {
	const Class = classes[plain.name];
	if (!Class || Class === ExtendableError || Class === TimeoutError) return undefined;
	if (OPEN.has(plain.name)) return new Class(plain.message, plain.code, plain.type, plain.data);
	// The text that was sent counts, not the one that the class would make of its data today.
	const error = Object.create(Class.prototype);
	hide(error, "message", plain.message);
	hide(error, "name", plain.name);
	return Object.assign(error, { code: plain.code, type: plain.type, data: plain.data });
}

/** moleculer: src/errors.js `Regenerator`; a service may extend it, the broker does not ask it. */
class Regenerator {
	init(broker) {
		this.broker = broker;
	}
	restore(plain) {
		return this.restoreCustomError(plain) || recreateError(plain) || Object.assign(new Error(plain.message), plain);
	}
	restoreCustomError() {
		return undefined;
	}
	extractPlainError({ name, message, nodeID, code, type, retryable, stack, data }) {
		return { name, message, nodeID: nodeID || this.broker.nodeID, code, type, retryable, stack, data };
	}
}

export const Errors = { ...classes, recreateError, Regenerator };
