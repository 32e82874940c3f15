// The conformance guest in JavaScript; tests/conformance/README.md says what each action does.

const { MoleculerClientError, MoleculerError } = require("moleculer").Errors;
const { Readable } = require("stream");

const hoard = [];

/** An error as JSON: its own message is no enumerable key. */
function plain({ name, message, code, type, retryable, data }) {
	return { name, message, code, type, retryable, data };
}

async function read(stream) {
	const seen = { objectMode: stream.readableObjectMode, bytes: 0, values: [], end: "end" };
	try {
		for await (const chunk of stream) {
			if (seen.objectMode) seen.values.push(chunk);
			else seen.bytes += chunk.length;
		}
	} catch (error) {
		seen.end = error.type;
	}
	return seen;
}

function* numbers(n) {
	for (let i = 0; i < n; i++) yield { n: i };
}

function* chunks(n, size) {
	for (let i = 0; i < n; i++) yield Buffer.alloc(size, "x");
}

function* failing(values) {
	yield* values;
	throw new MoleculerError("half way", 409, "LATE");
}

module.exports = {
	name: "conformance",
	settings: { color: "red", size: 5 },
	metadata: { kind: "conformance" },

	created() {
		this.nStarted = 0;
		this.nCounted = 0;
		this.nRuns = 0;
		this.noted = [];
	},
	async started() {
		if (this.settings.started === "fail") throw new MoleculerError("as the settings ask", 500, "START_FAILED");
		this.nStarted += 1;
		await this.broker.emit("life.started", { started: this.nStarted });
	},
	async stopped() {
		await this.broker.emit("life.stopped", { count: this.nCounted });
	},

	hooks: {
		before: {
			"hook*"(ctx) {
				this.push(ctx.params, "seen", "service");
			}
		},
		after: {
			"hook*"(ctx, result) {
				return this.push(result, "after", "service");
			}
		},
		error: {
			"hook*"(ctx, error) {
				error.message += ", seen by service";
				throw error;
			}
		}
	},

	actions: {
		// Values

		echo: {
			"x-custom": { deep: [1, null] },
			handler: ctx => ctx.params
		},
		kind(ctx) {
			if (ctx.params === undefined) return "absent";
			return Buffer.isBuffer(ctx.params) ? "bytes" : "json";
		},
		nothing() {},
		bytes(ctx) {
			return Buffer.alloc(ctx.params.n, 7);
		},
		sum(ctx) {
			return ctx.params.reduce((sum, byte) => sum + byte, 0);
		},
		roundtrip(ctx) {
			return { value: ctx.params.value };
		},

		// Context

		context(ctx) {
			return this.seen(ctx);
		},
		setMeta(ctx) {
			const was = { ...ctx.meta };
			Object.assign(ctx.meta, ctx.params.set);
			if (ctx.params.fail) throw new MoleculerClientError("failed after the meta was set", 400, "AFTER_META");
			return was;
		},
		setHeaders(ctx) {
			Object.assign(ctx.responseHeaders, ctx.params);
		},
		log(ctx) {
			const { level, message, fields } = ctx.params;
			this.logger[level](message, fields);
			// Moleculer's loggers do not tell.
			return null;
		},
		count() {
			this.nCounted += 1;
			return { count: this.nCounted, started: this.nStarted };
		},

		// Errors

		fail(ctx) {
			const { name, message, code, type, retryable, data } = ctx.params;
			throw Object.assign(new MoleculerError(message, code, type, data), { name, retryable });
		},
		failPlain(ctx) {
			throw new Error(ctx.params.message);
		},

		// Calls

		call(ctx) {
			return this.callAs(ctx, ctx.params);
		},
		async callAndMeta(ctx) {
			try {
				return { result: await this.callAs(ctx, ctx.params), error: null, meta: ctx.meta };
			} catch (error) {
				return { result: null, error: plain(error), meta: ctx.meta };
			}
		},
		async parallel(ctx) {
			const outcomes = await Promise.allSettled(ctx.params.calls.map(call => this.callAs(ctx, call)));
			return outcomes.map(({ status, value, reason }) => (status === "fulfilled" ? { value } : { error: plain(reason) }));
		},
		mcall(ctx) {
			const { calls, settled, timeout } = ctx.params;
			return ctx.mcall(calls, { settled, timeout });
		},
		async waitFor(ctx) {
			await this.waitForServices(ctx.params.services, ctx.params.timeout);
		},
		secret: {
			visibility: "private",
			handler: () => "only for this service"
		},

		// Events

		async emit(ctx) {
			const { event, data, kind = "emit", options } = ctx.params;
			if (kind === "broadcastLocal") await this.broker.broadcastLocal(event, data, { parentCtx: ctx, ...options });
			else await ctx[kind](event, data, options);
		},
		events() {
			return this.noted.splice(0);
		},

		// Validation, cache, hooks, fallback

		validated: {
			params: {
				id: { type: "number", integer: true, positive: true },
				name: { type: "string", min: 3, optional: true },
				tags: { type: "array", items: "string", optional: true },
				$$strict: true
			},
			handler: ctx => ctx.params
		},
		cached: {
			cache: { keys: ["id"], ttl: 60 },
			handler(ctx) {
				this.nRuns += 1;
				return { id: ctx.params.id, runs: this.nRuns };
			}
		},
		async cacher(ctx) {
			const { cacher } = this.broker;
			const { do: what, key, value, ttl } = ctx.params;
			if (what === "enabled") return Boolean(cacher && cacher.connected);
			if (what === "get") {
				const found = await cacher.get(key);
				return { found: found !== undefined, value: found ?? null };
			}
			if (what === "ttl") {
				const found = await cacher.getWithTTL(key);
				return { found: found.data !== undefined, ttl: found.ttl };
			}
			if (what === "set") await cacher.set(key, value, ttl);
			else if (what === "del") await cacher.del(key);
			else await cacher.clean(key);
		},
		hooked: {
			hooks: {
				before(ctx) {
					this.push(ctx.params, "seen", "action");
				},
				after(ctx, result) {
					return this.push(result, "after", "action");
				},
				error(ctx, error) {
					if (ctx.params.recover) return { recovered: error.message };
					error.message += ", seen by action";
					throw error;
				}
			},
			handler(ctx) {
				if (ctx.params.fail) throw new MoleculerError("failed", 500, "HOOKED");
				return { seen: ctx.params.seen, after: [] };
			}
		},
		saved: {
			fallback(ctx, { message, type, data }) {
				return { instead: message, type, data, params: ctx.params };
			},
			handler(ctx) {
				throw new MoleculerClientError(ctx.params.why, 409, "NOT_SAVED", { at: 1 });
			}
		},

		// Limits

		spin: {
			isomer: { limits: { fuel: 50_000_000 } },
			handler(ctx) {
				const { n } = ctx.params;
				let rounds = 0;
				while (n === 0 || rounds < n) rounds += 1;
				return rounds;
			}
		},
		hoard(ctx) {
			hoard.push(Buffer.alloc(ctx.params.mib * 2 ** 20, "x"));
			return ctx.params.mib;
		},

		// Streams

		readStream(ctx) {
			return ctx.stream ? read(ctx.stream) : null;
		},
		writeStream(ctx) {
			const { n, size = 1, objectMode = false, fail } = ctx.params;
			const values = objectMode ? numbers(n) : chunks(n, size);
			return Readable.from(fail ? failing(values) : values, { objectMode });
		},
		sendStream(ctx) {
			return ctx.call(ctx.params.action, {}, { stream: Readable.from(numbers(ctx.params.n)) });
		},
		async takeStream(ctx) {
			return read(await this.callAs(ctx, ctx.params));
		}
	},

	events: {
		"conformance.*"(ctx) {
			const data = ctx.params ?? null;
			this.noted.push({ context: this.seen(ctx), data, absent: ctx.params === undefined });
		},
		"grouped.**": {
			group: "conformance-group",
			handler(ctx) {
				this.noted.push({ context: this.seen(ctx), data: ctx.params ?? null, group: "conformance-group" });
			}
		},
		"failing.event"() {
			throw new MoleculerClientError("the handler fails", 418, "EVENT_FAILED");
		}
	},

	methods: {
		callAs(ctx, { action, params, options }) {
			return ctx.call(action, params, options);
		},
		push(into, key, name) {
			into[key] = [...(into[key] || []), name];
			return into;
		},
		/** The context object. */
		seen(ctx) {
			const { id, requestID, parentID, caller, level, nodeID, eventType, meta, headers } = ctx;
			return {
				...{ id, requestID, parentID, caller, level, nodeID, eventType, meta, headers },
				name: ctx.eventName || ctx.action.name,
				eventGroups: ctx.eventGroups || [],
				remainingTime: ctx.options.timeout ?? null,
				settings: this.settings,
				localNodeID: this.broker.nodeID,
				namespace: this.broker.namespace
			};
		}
	}
};
