// The broker as a service sees it: calls, events, what it can ask about its node, and what it must not do here.
//
// It stands for the node; the node does the work. Calls with a parent context go through the host's context
// of that call, others through the service's own, which begins a new chain as `broker.call` does in Moleculer.
//
// moleculer: src/service-broker.js

import { attempt, settle } from "../runtime/future.js";
import { encode } from "../runtime/payload.js";
import { randomUuid } from "../runtime/random.js";
import { Cacher } from "./cacher.js";
import { Context, eventOptions } from "./context.js";
import { Errors } from "./errors.js";
import { makeLogger } from "./logger.js";
import { fullName } from "./names.js";
import { silentMetrics, silentTracer } from "./silent.js";
import { extendPromise } from "./promise.js";
import { brokerValidator, checkParams } from "./validator.js";

const CALL_OPTIONS = ["timeout", "retries", "retryCount", "retry", "nodeID", "meta", "headers", "requestID", "tracking", "fallbackResponse"];
const NOBODY_HAS_IT = ["SERVICE_NOT_FOUND", "SERVICE_NOT_AVAILABLE"];
const EMIT_OPTIONS = ["groups", "meta", "headers", "requestID", "throwError"];

export class ServiceBroker {
	/** Only the SDK can make one, with the host; a service that makes a broker of its own is told so. */
	constructor(host) {
		if (!host || !host.isHost) {
			throw new Errors.BrokerOptionsError(
				"A service cannot make a ServiceBroker: the node is the broker. Use `this.broker`, and build only the service's file."
			);
		}
		this._host = host;
		this._own = null;
		this._moleculer = host.moleculer;
		this._streams = host.streams;
		this.Promise = extendPromise(Promise);
		this.ContextFactory = Context;
		this.options = { maxCallLevel: 0, requestTimeout: 0, contextParamsCloning: false, internalServices: true };
		this.metadata = {};
		this.instanceID = "";
		this.started = false;
		this.services = [];
		this.logger = this.getLogger("broker");
		this.metrics = silentMetrics;
		this.tracer = silentTracer;
		this.validator = brokerValidator;
		this.cacher = new Cacher(host.cacher, host.moleculer);
		this.MOLECULER_VERSION = host.moleculer || "0.15.1";
	}

	/** Made when it is asked for: its package is compiled with its first use, in every new instance. */
	get localBus() {
		this._localBus = this._localBus || new this._host.EventEmitter();
		return this._localBus;
	}

	get nodeID() {
		return this._host.config.nodeId();
	}

	get namespace() {
		return this._host.config.namespace();
	}

	getLogger(mod, props) {
		return makeLogger(this._host, mod, props);
	}

	generateUid() {
		return randomUuid();
	}

	isMetricsEnabled() {
		return false;
	}
	isTracingEnabled() {
		return false;
	}

	/** Calls an action. A stream as params, or as the option `stream`, is sent beside the params. */
	async call(action, params, options = {}) {
		const { parentCtx, fallbackResponse } = options;
		const sent = isStream(params) ? params : options.stream;
		const handle = this._through(parentCtx);
		const text = this._options(options, CALL_OPTIONS, parentCtx);
		try {
			const given = encode(sent === params ? undefined : params);
			const result = await this._streams.exchange(
				() => (sent ? handle.startStreamCall(action, given, text, isObjectMode(sent)) : handle.startCall(action, given, text)),
				sent
			);
			if (parentCtx) parentCtx._pullMeta();
			return result;
		} catch (error) {
			if (parentCtx) parentCtx._pullMeta();
			// A value is the node's business. As in Moleculer there is none for an action that nobody has.
			if (typeof fallbackResponse !== "function" || NOBODY_HAS_IT.includes(error.type)) throw error;
			return fallbackResponse(parentCtx, error);
		}
	}

	/** Several calls in flight at once; `settled` as in Moleculer. */
	async mcall(calls, options = {}) {
		if (calls === null || typeof calls !== "object") {
			throw new Errors.MoleculerServerError("Invalid calls definition.", 500, "INVALID_PARAMETERS");
		}
		const { settled, parentCtx, ...common } = options;
		const one = ({ action, params, options: own }) => this.call(action, params, { parentCtx, ...common, ...own });
		const names = Object.keys(calls);
		const running = names.map(name => one(calls[name]));
		const results = settled ? await Promise.allSettled(running) : await Promise.all(running);
		if (Array.isArray(calls)) return results;
		return Object.fromEntries(names.map((name, index) => [name, results[index]]));
	}

	emit(event, data, options) {
		return this._send("emit", event, data, eventOptions(options));
	}

	broadcast(event, data, options) {
		return this._send("broadcast", event, data, eventOptions(options));
	}

	broadcastLocal(event, data, options) {
		return this._send("broadcastLocal", event, data, eventOptions(options));
	}

	async _send(how, event, data, options) {
		const { parentCtx } = options;
		const handle = this._through(parentCtx);
		const text = this._options(options, EMIT_OPTIONS, parentCtx);
		await settle(attempt(() => handle[how](event, encode(data), text)));
	}

	/** Waits until services are there. Their names may be objects with a version, or arrays of alternatives' names. */
	async waitForServices(services, timeout, _interval, logger = this.logger) {
		const names = fullNames(services);
		if (names.length === 0) return { services: [], statuses: [] };
		logger.info(`Waiting for service(s) '${names.join(", ")}'...`);
		const limit = timeout > 0 ? Math.min(timeout, 4294967295) : null;
		await settle(this._through(null).waitForServices(names, limit));
		logger.info(`Service(s) '${names.join(", ")}' are available.`);
		return { services: names, statuses: names.map(name => ({ name, available: true })) };
	}

	/** The only service that an instance knows is its own. */
	getLocalService(name, version) {
		const wanted = typeof name === "object" ? fullName(name) : fullName({ name, version });
		return this.services.find(service => service.fullName === wanted || service.name === wanted);
	}

	createService() {
		throw new Errors.ServiceSchemaError(
			"A service cannot create another one here: put each service into a file of its own and build it."
		);
	}
	loadService() {
		return this.createService();
	}
	start() {
		return this.Promise.reject(new Errors.BrokerOptionsError("A service cannot start the node it runs in."));
	}
	stop() {
		return this.Promise.reject(new Errors.BrokerOptionsError("A service cannot stop the node it runs in."));
	}
	fatal(message, error) {
		this.logger.fatal(message, error);
	}
	errorHandler(error) {
		throw error;
	}

	/** Settings of the schema with those of the operator's file over them. */
	_overlay(settings) {
		return overlay(settings, JSON.parse(this._host.config.settings()));
	}

	_adopt(service) {
		this.services.push(service);
	}

	/** The host's context that a call goes through. */
	_through(parentCtx) {
		const handle = parentCtx && parentCtx._liveHandle && parentCtx._liveHandle();
		if (handle) {
			parentCtx._pushMeta();
			return handle;
		}
		this._own = this._own || this._host.broker.ownContext();
		return this._own;
	}

	/** The options that the host knows, as text. A context that is not the host's own sends its meta along. */
	_options(options, keys, parentCtx) {
		const known = {};
		for (const key of keys) {
			const value = options[key];
			if (value !== undefined && value !== null && typeof value !== "function") known[key] = value;
		}
		if (parentCtx && parentCtx._apart) {
			known.meta = { ...parentCtx.meta, ...options.meta };
			if (parentCtx.requestID) known.requestID = known.requestID || parentCtx.requestID;
		}
		return Object.keys(known).length > 0 ? JSON.stringify(known) : null;
	}

	/** `this.actions.x()`: the handler with its hooks and rules, in this instance. */
	async _callOwn(action, params, options) {
		const ctx = options.ctx || Context.create(this, { action }, params, options);
		if (action.params) ctx.params = await checkParams(this, action, ctx);
		return action.hooked(ctx);
	}

	/** `this.events["x"]()`: the handler of an event, in this instance. */
	async _emitOwn(event, name, params, options) {
		const ctx = options.ctx || Context.create(this, { event }, params, options);
		ctx.eventName = name;
		ctx.eventType = "emit";
		ctx.eventGroups = [event.group || event.service.name];
		return event.handler(ctx);
	}
}

const isStream = value => value != null && typeof value.pipe === "function" && typeof value.on === "function";
const isObjectMode = stream => stream.readableObjectMode === true || Boolean((stream._readableState || {}).objectMode);

function fullNames(services) {
	const list = Array.isArray(services) ? services : [services];
	return [...new Set(list.flat().filter(Boolean).map(item => (typeof item === "string" ? item : fullName(item))))];
}

const isPlain = value => value !== null && typeof value === "object" && !Array.isArray(value);

function overlay(base, over) {
	for (const [key, value] of Object.entries(over)) {
		// What the operator left alone stays as it is: a RegExp or a Date would come back as a text.
		if (JSON.stringify(base[key]) === JSON.stringify(value)) continue;
		base[key] = isPlain(value) && isPlain(base[key]) ? overlay(base[key], value) : value;
	}
	return base;
}
