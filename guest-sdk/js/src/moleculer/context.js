// `Context`: one running action or event, and the way from it to the rest of the mesh.
//
// What the host knows (IDs, meta, headers) is read when it is asked for and not before: each question crosses
// the boundary. Calls go through the handle of the host, which makes them children of this call; the handle
// ends with the handler, and what runs later (a timer) calls through the service's own context instead.
//
// moleculer: src/context.js

import { attempt } from "../runtime/future.js";
import { Span, closed, optionsOf } from "./span.js";

const FIELDS = [
	["id", handle => handle.id()],
	["requestID", handle => handle.requestId()],
	["parentID", handle => handle.parentId() ?? null],
	["caller", handle => handle.caller() ?? null],
	["level", handle => handle.level()],
	["nodeID", handle => handle.nodeId()]
];

/** Objects that are made when they are asked for. */
const MADE = ["responseHeaders", "locals"];

const EVENT_TYPES = { emit: "emit", broadcast: "broadcast", "broadcast-local": "broadcastLocal" };

export class Context {
	/** `handle` is the host's context; a context made by hand (`null`) has what `create` gave it. */
	constructor(broker, endpoint, handle = null) {
		this.broker = broker;
		this._handle = handle;
		this._known = {};
		this.action = (endpoint && endpoint.action) || null;
		this.event = (endpoint && endpoint.event) || null;
		this.service = ((this.action || this.event || {}).service) || null;
		this.params = null;
	}

	/** A context for an action or event of this service that the service itself starts. */
	static create(broker, endpoint, params, options = {}) {
		const parent = options.parentCtx;
		const ctx = new broker.ContextFactory(broker, endpoint, null);
		const known = ctx._known;
		known.id = broker.generateUid();
		known.nodeID = broker.nodeID;
		known.level = parent ? parent.level + 1 : 1;
		known.parentID = parent ? parent.id : null;
		known.caller = options.caller || (parent && parent.service ? parent.service.fullName : null);
		known.requestID = options.requestID || (parent ? parent.requestID : known.id);
		known.meta = Object.assign({}, parent ? parent.meta : null, options.meta);
		known.headers = options.headers || {};
		known.stream = options.stream || null;
		ctx._parent = parent || null;
		known.options = options;
		ctx.params = params == null ? {} : params;
		return ctx;
	}

	get meta() {
		const known = this._known;
		if (known.meta === undefined) {
			this._metaRead = this._ask(handle => handle.meta(), "{}");
			known.meta = JSON.parse(this._metaRead);
			this._metaSent = JSON.stringify(known.meta);
		}
		return known.meta;
	}
	set meta(meta) {
		this._known.meta = meta;
	}

	get headers() {
		const known = this._known;
		if (known.headers === undefined) known.headers = JSON.parse(this._ask(handle => handle.headers(), "{}"));
		return known.headers;
	}
	set headers(headers) {
		this._known.headers = headers;
	}

	/** Those of the call, as far as they are the callee's business. */
	get options() {
		const known = this._known;
		if (known.options === undefined) {
			const timeout = this._ask(handle => handle.remainingTime(), null);
			known.options = timeout === null || timeout === undefined ? {} : { timeout };
		}
		return known.options;
	}
	set options(options) {
		this._known.options = options;
	}

	get stream() {
		const known = this._known;
		if (known.stream === undefined) {
			const reader = this._ask(handle => handle.stream(), null);
			known.stream = reader ? this.broker._streams.readable(reader) : null;
		}
		return known.stream;
	}
	set stream(stream) {
		this._known.stream = stream;
	}

	setParams(params) {
		this.params = params;
	}

	call(action, params, options) {
		return this.broker.call(action, params, { parentCtx: this, ...options });
	}

	mcall(calls, options) {
		return this.broker.mcall(calls, { parentCtx: this, ...options });
	}

	emit(event, data, options) {
		return this.broker.emit(event, data, { ...eventOptions(options), parentCtx: this });
	}

	broadcast(event, data, options) {
		return this.broker.broadcast(event, data, { ...eventOptions(options), parentCtx: this });
	}

	/** Begins a span; what is called until its end is its child. `span` is the newest of those begun here. */
	startSpan(name, opts) {
		this._spans = this._spans || new Set();
		const handle = this._liveHandle();
		const span = handle
			? new Span(this.broker._host.tracing.startSpan(handle, String(name), optionsOf(opts)), name, opts, this._spans)
			: closed(name, opts);
		this._spanStack = [...this._spanStack, span];
		this.span = span;
		return span;
	}

	finishSpan(span) {
		span.finish();
		this._spanStack = this._spanStack.filter(one => one !== span);
		this.span = this._spanStack[this._spanStack.length - 1] || null;
	}

	copy(endpoint) {
		// Both have the same ones, also when nobody has asked for them yet.
		for (const name of MADE) void this[name];
		const copy = Object.assign(Object.create(Object.getPrototypeOf(this)), this);
		copy._known = { ...this._known };
		if (endpoint) copy.action = endpoint.action || null;
		return copy;
	}

	toJSON() {
		const { id, nodeID, requestID, parentID, caller, level, params, meta, headers, options } = this;
		const named = this.action ? { action: { name: this.action.name } } : this.event ? { event: { name: this.event.name } } : {};
		const { parentCtx: _, ...plain } = options;
		const { eventName, eventType, eventGroups, responseHeaders, cachedResult } = this;
		const service = this.service ? { service: pick(this.service) } : {};
		return {
			id, nodeID, ...named, ...service, options: plain, parentID, caller, level, params, meta, headers, responseHeaders,
			requestID, eventName, eventType, eventGroups, cachedResult
		};
	}

	/** The host's context through which this one calls, while it lives; else that of its parent. */
	_liveHandle() {
		if (this._handle && !this._ended) return this._handle;
		return this._parent ? this._parent._liveHandle() : null;
	}

	/** True when the meta of this context is not that of the handle, and has to be sent with each call. */
	get _apart() {
		return !this._handle || this._ended;
	}

	/** Tells the host what the handler has put into the meta. */
	_pushMeta() {
		const { meta } = this._known;
		if (meta === undefined || this._apart) return;
		const text = JSON.stringify(meta);
		if (text === this._metaSent) return;
		attempt(() => this._handle.setMeta(text));
		this._metaSent = text;
	}

	/** Takes what callees have put into the meta. */
	_pullMeta() {
		const { meta } = this._known;
		if (meta === undefined || this._apart) return;
		const text = this._handle.meta();
		if (text === this._metaRead) return;
		this._metaRead = text;
		Object.assign(meta, JSON.parse(text));
		this._metaSent = JSON.stringify(meta);
	}

	/** The handler has ended: the last meta and headers go to the host, and its handle expires. */
	_end() {
		const { responseHeaders } = this._known;
		if (responseHeaders && Object.keys(responseHeaders).length > 0) {
			attempt(() => this._handle.setResponseHeaders(JSON.stringify(responseHeaders)));
		}
		this._pushMeta();
		if (this._spans) for (const span of this._spans) span.finish();
		this._ended = true;
	}

	_ask(question, otherwise) {
		if (!this._handle || this._ended) return otherwise;
		return question(this._handle);
	}

	_setEvent() {
		const handle = this._handle;
		this.eventName = handle.name();
		this.eventType = EVENT_TYPES[handle.eventType()] || null;
		const groups = handle.eventGroups();
		this.eventGroups = groups.length > 0 ? groups : null;
	}
}

for (const [name, question] of FIELDS) {
	Object.defineProperty(Context.prototype, name, {
		configurable: true,
		get() {
			if (!(name in this._known)) this._known[name] = this._ask(question, null);
			return this._known[name];
		},
		set(value) {
			this._known[name] = value;
		}
	});
}

// What begins the same in every context stays here until it is set: a context is made for each call.
Object.assign(Context.prototype, {
	_metaSent: undefined,
	_metaRead: undefined,
	_ended: false,
	_parent: null,
	_spans: null,
	_spanStack: [],
	eventName: null,
	eventType: null,
	eventGroups: null,
	tracing: null,
	span: null,
	cachedResult: false,
	startHrTime: null
});

for (const name of MADE) {
	Object.defineProperty(Context.prototype, name, {
		configurable: true,
		get() {
			return (this._known[name] = this._known[name] || {});
		},
		set(value) {
			this._known[name] = value;
		}
	});
}

const pick = ({ name, version, fullName }) => ({ name, version, fullName });

/** Before 0.14 groups stood in the place of the options. */
export function eventOptions(options) {
	if (Array.isArray(options) || typeof options === "string") return { groups: options };
	return options || {};
}
