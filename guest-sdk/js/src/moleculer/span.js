// Spans: named parts of a handler's work, which the tracer of the node shows with its calls.
//
// The node keeps them and decides what is recorded; nothing here fails because of what a service records. IDs and
// times are the node's. A span ends with its handler at the latest.
//
// moleculer: src/tracing/span.js

import { failureFromError } from "../runtime/failure.js";
import { dispose } from "../runtime/future.js";

export class Span {
	/** `handle` is the host's span, `open` the set of those that have to be ended with the handler. */
	constructor(handle, name, opts, open) {
		this.name = name;
		this.type = (opts && opts.type) || "custom";
		this.priority = opts && opts.priority != null ? opts.priority : 5;
		this.tags = { ...(opts && opts.tags) };
		this.logs = [];
		this.error = null;
		Object.defineProperties(this, { _handle: { value: handle, writable: true }, _open: { value: open } });
		open.add(this);
	}

	isActive() {
		return this._handle !== null;
	}

	addTags(tags) {
		Object.assign(this.tags, tags);
		this._tell(handle => handle.addTags(toJson(tags)));
		return this;
	}

	log(name, fields) {
		this.logs.push({ name, fields: fields || {} });
		this._tell(handle => handle.log(String(name), toJson(fields || {})));
		return this;
	}

	setError(error) {
		this.error = error != null ? error : true;
		this._tell(handle => handle.setError(failureFromError(error)));
		return this;
	}

	/** A part of this one. Calls are children of what `ctx.startSpan` has begun, not of such a part. */
	startSpan(name, opts) {
		if (!this.isActive()) return closed(name, opts);
		return new Span(this._handle.startSpan(String(name), optionsOf(opts)), name, opts, this._open);
	}

	finish() {
		this._tell(handle => {
			this._handle = null;
			this._open.delete(this);
			handle.finish();
			dispose(handle);
		});
		return this;
	}

	_tell(what) {
		if (this._handle !== null) what(this._handle);
	}
}

/** A span of a handler that has ended: it takes everything and records nothing. */
export function closed(name, opts) {
	return new Span(null, name, opts, new Set());
}

/** What the node takes of the options; the others are its own business. */
export function optionsOf(opts) {
	if (!opts) return null;
	const { type, tags, priority } = opts;
	return toJson({ type, tags, priority });
}

/** Something without a JSON form, such as a ring, is left out. */
function toJson(value) {
	try {
		return JSON.stringify(value) ?? "{}";
	} catch {
		return "{}";
	}
}
