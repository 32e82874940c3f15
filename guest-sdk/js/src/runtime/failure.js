// Errors on their way to the host and back: a JavaScript error becomes the record `failure` of the WIT, with
// the fields that a Moleculer node sends, and a failure becomes an instance of the class that it names.
//
// moleculer: src/errors.js Regenerator

import { recreateError } from "../moleculer/errors.js";
import { userStack } from "./stack.js";

const U32_MAX = 4294967295;

/** The further fields of errors that came from the host, which go on with them. */
const further = new WeakMap();

/** What a handler threw, as a failure. Anything can be thrown, so nothing is taken for granted here. */
export function failureFromError(error) {
	if (error === null || (typeof error !== "object" && typeof error !== "function")) {
		return failure({ name: "MoleculerError", message: `Uncaught ${show(error)}`, code: 500 });
	}
	const { code, type, data, nodeID } = error;
	const extra = Object.fromEntries((further.get(error) || []).map(key => [key, error[key]]));
	if (nodeID !== undefined) extra.nodeID = nodeID;
	const asNumber = Number.isInteger(code) && code >= 0 && code <= U32_MAX;
	if (code !== undefined && code !== null && !asNumber) extra.code = code;
	return failure({
		name: text(error.name) || "Error",
		message: text(error.message) || "",
		code: asNumber ? code : null,
		type: type === undefined || type === null ? null : show(type),
		retryable: error.retryable === true,
		data: toJson(data),
		stack: userStack(error),
		extra: Object.keys(extra).length > 0 ? toJson(extra) : null
	});
}

function failure(fields) {
	return {
		code: null,
		type: null,
		retryable: false,
		data: null,
		stack: null,
		extra: null,
		...fields
	};
}

/** The error that a broker call failed with. */
export function errorFromFailure(thrown) {
	// What a plain function fails with is thrown by the engine, inside of an error of its own.
	const given = thrown instanceof Error && thrown.payload ? thrown.payload : thrown;
	// Not every error of the boundary is a failure: a context that has expired throws an error of the engine.
	if (given instanceof Error || !given || typeof given.name !== "string") return given;
	const extra = given.extra ? JSON.parse(given.extra) : {};
	const plain = {
		name: given.name,
		message: given.message,
		code: given.code ?? extra.code,
		type: given.type ?? undefined,
		data: given.data === null || given.data === undefined ? undefined : JSON.parse(given.data)
	};
	const error = recreateError(plain) || defaultError(plain);
	const { code: _, ...fields } = extra;
	Object.assign(error, fields, { retryable: given.retryable });
	further.set(error, Object.keys(fields));
	if (given.stack) setStack(error, given.stack);
	return error;
}

function defaultError({ name, message, code, type, data }) {
	const error = new Error(message);
	error.name = name;
	return Object.assign(error, { code, type, data });
}

function setStack(error, value) {
	Object.defineProperty(error, "stack", { value, configurable: true, writable: true, enumerable: false });
}

function text(value) {
	return value === undefined || value === null ? "" : show(value);
}

function show(value) {
	try {
		return String(value);
	} catch {
		return "[a value without a text]";
	}
}

function toJson(value) {
	if (value === undefined) return null;
	try {
		return JSON.stringify(value) ?? null;
	} catch (error) {
		// Rings and BigInts have no JSON; the error itself still has to reach its caller.
		return JSON.stringify({ unserializable: text(error && error.message) });
	}
}
