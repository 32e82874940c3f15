// The exports of the component: what the node asks, answered by the service of the user's file.
//
// The file is run when an instance is first asked, not when the component is built: what it reads on its way
// (time, environment, random numbers) is that of the running node, as under Node.js.
//
// Two rules of the engine shape this. Whatever leaves an export as an exception ends the instance, so all is
// caught and told as a failure. And a call that waits only for what another call does looks finished to it, so
// a call that does not end at once holds a number until its handler has settled (`guarded`).

import { Errors } from "../moleculer/errors.js";
import { ServiceBroker } from "../moleculer/broker.js";
import { Service } from "../moleculer/service.js";
import { checkParams } from "../moleculer/validator.js";
import { describe } from "./describe.js";
import { errorFromFailure, failureFromError } from "./failure.js";
import { value as read } from "./future.js";
import { serviceOf } from "./load.js";
import { decode, encode } from "./payload.js";
import * as timers from "./timers.js";

const FALLBACK = "|fallback";
const ID_MAX = 4294967295;
/** Turns of the microtask queue that a handler gets before its call takes a hold. */
const QUICK_TURNS = 6;

const asArray = value => (value == null ? [] : Array.isArray(value) ? value : [value]);

/** The exports for an instance. */
export function exportsOf(instance) {
	return {
		describe: () => JSON.stringify(instance.describe().schema),
		started: handle => instance.guarded(() => instance.start(handle)),
		stopped: handle => instance.guarded(() => instance.stop(handle)),
		background: () => instance.background(),
		callAction: (handle, key, params) => instance.guarded(() => instance.callAction(handle, key, params)),
		handleEvent: (handle, key, data) => instance.guarded(() => instance.handleEvent(handle, key, data))
	};
}

export class Instance {
	/** `load()` gives what the user's file exports. */
	constructor(load, host) {
		this.load = load;
		this.host = host;
		this.broker = null;
		this.service = null;
		this.created = false;
		this.served = false;
		this.ended = false;
		this.lastId = timers.BACKGROUND;
		this.waiting = new Set();
		this.streamsAreParams = /^0\.1[0-4]\b/.test(host.moleculer || "");
		timers.watch(
			() => this.wake(),
			error => this.broker && this.broker.logger.error("A timer failed:", error)
		);
	}

	/** The service, without `created`. */
	make() {
		if (!this.service) {
			this.broker = new ServiceBroker(this.host);
			this.broker.ServiceFactory = Service;
			this.service = serviceOf(this.load(), this.broker);
		}
		return this.service;
	}

	describe() {
		return describe(this.make());
	}

	/** The service as the first call finds it. */
	enter() {
		if (!this.created) {
			this.describe();
			this.created = true;
			for (const created of asArray(this.service.schema.created)) created.call(this.service);
			this.broker.started = true;
		}
		return this.service;
	}

	async start() {
		const service = this.enter();
		for (const started of asArray(service.schema.started)) await started.call(service);
	}

	/** The last comes first, as in Moleculer 0.15. */
	async stop() {
		const service = this.enter();
		for (const stopped of asArray(service.schema.stopped).reverse()) await stopped.call(service);
		this.ended = true;
		this.host.timers.release(timers.BACKGROUND);
	}

	/** Serves the timers for as long as the instance lives. */
	async background() {
		this.served = true;
		while (!this.ended) {
			await read(this.host.timers.hold(timers.BACKGROUND, timers.untilNext()));
			timers.runDue();
		}
	}

	/** The result as a payload, or a promise of it: a handler that does not wait costs no turn of the queue. */
	callAction(handle, key, params) {
		const service = this.enter();
		const { actions } = service._specification;
		const isFallback = !Object.hasOwn(actions, key) && key.endsWith(FALLBACK);
		const name = isFallback ? key.slice(0, -FALLBACK.length) : key;
		const action = actions[name];
		if (!action) throw new Errors.ServiceNotFoundError({ action: `${service.fullName}.${name}` });
		const ctx = this.context(handle, { action }, params);
		let result;
		try {
			result = isFallback ? callFallback(service, action, ctx) : this.run(action, ctx);
			if (!isPromise(result)) return this.leave(ctx, result);
		} catch (error) {
			end(ctx);
			throw error;
		}
		// What only has the form of a promise need not give one.
		return Promise.resolve(result).then(
			value => this.leave(ctx, value),
			error => {
				end(ctx);
				throw error;
			}
		);
	}

	run(action, ctx) {
		if (!action._inGuest) return action._run(ctx);
		return checkParams(this.broker, action, ctx).then(params => {
			ctx.params = params;
			return action._run(ctx);
		});
	}

	/** The handler has given its result; what it has told its context goes to the host with it. */
	leave(ctx, result) {
		if (isStream(result)) return this.stream(ctx, result);
		try {
			return encode(result);
		} finally {
			end(ctx);
		}
	}

	/** What is set after the stream has begun comes too late, as under Node.js. */
	async stream(ctx, source) {
		ctx._end();
		const objectMode = source.readableObjectMode === true;
		await this.host.streams.respond(ctx._handle, source, objectMode);
		return encode(undefined);
	}

	async handleEvent(handle, key, data) {
		const event = this.enter()._specification.events[key];
		if (!event) return;
		const ctx = this.context(handle, { event }, data);
		ctx._setEvent();
		try {
			if (event._inGuest) ctx.params = await checkParams(this.broker, event, ctx);
			await event.handler(ctx);
		} finally {
			end(ctx);
		}
	}

	context(handle, endpoint, payload) {
		const ctx = new this.broker.ContextFactory(this.broker, endpoint, handle);
		const params = decode(payload);
		ctx.params = params === undefined && endpoint.action ? {} : params;
		// Before 0.15 a stream came in the place of the params.
		if (this.streamsAreParams && endpoint.action && ctx.stream) ctx.params = ctx.stream;
		return ctx;
	}

	/** Runs a handler to its end; what it throws leaves as a failure. */
	async guarded(run) {
		let outcome = null;
		try {
			const result = run();
			if (!isPromise(result)) return result;
			this.lastId = this.lastId >= ID_MAX ? timers.BACKGROUND + 1 : this.lastId + 1;
			const id = this.lastId;
			const settled = (error, value, failed) => {
				outcome = { error, value, failed };
				if (this.waiting.has(id)) this.host.timers.release(id);
			};
			result.then(
				value => settled(null, value, false),
				error => settled(error, null, true)
			);
			for (let turn = 0; turn < QUICK_TURNS && !outcome; turn += 1) await null;
			while (!outcome) await this.hold(id);
		} catch (error) {
			throw failureFromError(error);
		}
		if (outcome.failed) throw failureFromError(outcome.error);
		return outcome.value;
	}

	/** Waits until the handler has settled or, where nobody else does it, the next timer is due. */
	async hold(id) {
		this.waiting.add(id);
		try {
			await read(this.host.timers.hold(id, this.served ? null : timers.untilNext()));
		} finally {
			this.waiting.delete(id);
		}
		if (!this.served) timers.runDue();
	}

	/** A timer has been set that may be the next. */
	wake() {
		if (this.served) this.host.timers.release(timers.BACKGROUND);
		else for (const id of this.waiting) this.host.timers.release(id);
	}
}

function end(ctx) {
	if (!ctx._ended) ctx._end();
}

function callFallback(service, action, ctx) {
	const { fallback } = action;
	const run = typeof fallback === "function" ? fallback : service[fallback];
	if (typeof run !== "function") {
		const text = `The fallback '${fallback}' of '${action.name}' is no method of the service.`;
		throw new Errors.ServiceSchemaError(text);
	}
	const cause = ctx._handle.cause();
	return run.call(service, ctx, cause ? errorFromFailure(cause) : undefined);
}

const isPromise = value => value != null && typeof value.then === "function";
const isStream = value => value != null && typeof value.pipe === "function" && typeof value.on === "function";

