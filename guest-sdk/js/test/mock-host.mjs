// A host for tests under Node.js: the imports of the world `service-async` as plain objects, whose calls are
// answered by functions of the test.

import { EventEmitter } from "node:events";
import stream from "node:stream";
import { createRequire } from "node:module";

import { setSource } from "../src/runtime/random.js";
import { Streams } from "../src/runtime/streams.js";
import { setValidator } from "../src/moleculer/validator.js";
import { decode, encode } from "../src/runtime/payload.js";
import { failureFromError } from "../src/runtime/failure.js";
import { Instance, exportsOf } from "../src/runtime/serve.js";

const require = createRequire(import.meta.url);

const ok = val => ({ tag: "ok", val });

/** A future of the host; it counts as open until it is dropped. */
function future(host, promise) {
	host.open += 1;
	let read = false;
	return {
		read() {
			if (read) throw new Error("a future can be read once");
			read = true;
			return promise;
		},
		drop() {
			host.open -= 1;
		}
	};
}

const outcome = promise =>
	promise.then(
		value => ok(encode(value)),
		error => ({ tag: "err", val: failureFromError(error) })
	);

/** `answers[action](params, options)` answers calls; all that happens is in `log`. */
export class MockHost {
	constructor({ answers = {}, settings = {}, moleculer, nodeID = "node-1" } = {}) {
		this.isHost = true;
		this.answers = answers;
		this.open = 0;
		this.lines = [];
		this.calls = [];
		this.events = [];
		this.moleculer = moleculer;
		this.EventEmitter = EventEmitter;
		this.streams = new Streams(() => stream);
		this.config = {
			settings: () => JSON.stringify(settings),
			service: () => "mock",
			nodeId: () => nodeID,
			namespace: () => ""
		};
		this.logger = {
			enabled: () => true,
			log: (level, message) => this.lines.push(`${level} ${message}`)
		};
		this.holds = new Map();
		this.timers = {
			sleep: ms => future(this, new Promise(done => setTimeout(done, ms, true))),
			hold: (id, ms) => future(this, this.hold(id, ms)),
			release: id => {
				const held = this.holds.get(id) || [];
				this.holds.delete(id);
				for (const done of held) done(true);
			}
		};
		this.kept = new Map();
		this.cacher = {
			enabled: () => true,
			get: key => future(this, Promise.resolve(ok(this.kept.get(key) ?? null))),
			getWithTtl: key =>
				future(this, Promise.resolve(ok(this.kept.has(key) ? [this.kept.get(key), null] : null))),
			set: (key, value) => future(this, Promise.resolve(ok(void this.kept.set(key, value)))),
			del: keys => future(this, Promise.resolve(ok(keys.forEach(key => this.kept.delete(key))))),
			clean: () => future(this, Promise.resolve(ok(this.kept.clear())))
		};
		this.spans = [];
		this.tracing = { startSpan: (_, name, options) => this.span(name, options) };
		this.broker = { ownContext: () => this.context({ name: "background" }) };
		setSource(count => crypto.getRandomValues(new Uint8Array(count)));
		setValidator(() => require("fastest-validator"));
	}

	/** A span; what is told to it is in `spans`. */
	span(name, options) {
		const span = { name, options: JSON.parse(options ?? "{}"), tags: {}, logs: [], finished: false, parts: [] };
		this.spans.push(span);
		return {
			addTags: tags => void Object.assign(span.tags, JSON.parse(tags)),
			log: (name, fields) => void span.logs.push([name, JSON.parse(fields)]),
			setError: failure => void (span.error = failure.message),
			startSpan: (name, options) => {
				span.parts.push(name);
				return this.span(name, options);
			},
			finish: () => void (span.finished = true)
		};
	}

	hold(id, ms) {
		return new Promise(done => {
			const timer = ms === null ? null : setTimeout(() => finish(false), ms);
			const finish = value => {
				clearTimeout(timer);
				this.holds.set(id, (this.holds.get(id) || []).filter(other => other !== finish));
				done(value);
			};
			this.holds.set(id, [...(this.holds.get(id) || []), finish]);
		});
	}

	/** A context of the host, as handlers get it. */
	context({ name, meta = {}, headers = {}, caller = null, eventType = null, eventGroups = [], cause = null } = {}) {
		const host = this;
		const state = { meta: { ...meta }, responseHeaders: {} };
		const start = (action, params, options) => {
			const given = JSON.parse(options ?? "{}");
			host.calls.push({ action, params: decode(params), options: given, meta: { ...state.meta } });
			const answer = host.answers[action];
			const result = async () => {
				if (!answer) throw Object.assign(new Error(`Service '${action}' is not found.`), { name: "ServiceNotFoundError", code: 404 });
				return answer(decode(params), given, state);
			};
			return outcome(result());
		};
		const send = how => (event, data, options) => {
			host.events.push({ how, event, data: decode(data), options: JSON.parse(options ?? "{}") });
			return future(host, Promise.resolve(ok(undefined)));
		};
		return {
			state,
			id: () => "ctx-1",
			requestId: () => "request-1",
			parentId: () => null,
			caller: () => caller,
			level: () => 1,
			nodeId: () => "node-2",
			name: () => name,
			eventType: () => eventType,
			eventGroups: () => eventGroups,
			meta: () => JSON.stringify(state.meta),
			setMeta: text => void Object.assign(state.meta, JSON.parse(text)),
			headers: () => JSON.stringify(headers),
			setResponseHeaders: text => void Object.assign(state.responseHeaders, JSON.parse(text)),
			remainingTime: () => null,
			cause: () => cause,
			stream: () => null,
			startCall(action, params, options) {
				const done = start(action, params, options);
				return { done: () => future(host, done), takeStream: () => null };
			},
			emit: send("emit"),
			broadcast: send("broadcast"),
			broadcastLocal: send("broadcastLocal"),
			waitForServices: () => future(host, Promise.resolve(ok(undefined)))
		};
	}
}

/** A service on a mock host, with ways to use it that read well in tests. */
export function serve(schema, options) {
	const host = new MockHost(options);
	const instance = new Instance(() => schema, host);
	const handler = exportsOf(instance);
	const call = async (action, params, context = {}) => {
		const handle = host.context({ name: action, ...context });
		try {
			return { value: decode(await handler.callAction(handle, action, encode(params))), ...handle.state };
		} catch (failure) {
			if (failure instanceof Error) throw failure;
			return { failure, ...handle.state };
		}
	};
	const event = async (key, data, context = {}) => {
		const handle = host.context({ name: key, eventType: "emit", ...context });
		await handler.handleEvent(handle, key, encode(data));
	};
	return { host, handler, instance, call, event, schema: () => JSON.parse(handler.describe()) };
}
