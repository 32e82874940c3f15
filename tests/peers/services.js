"use strict";
// The services of every test peer. `js` shows what a callee sees and gives every kind of answer; the tests
// of both directions are written against it.

const util = require("node:util");

const shown = value => util.inspect(value, { depth: null, breakLength: Infinity, compact: true });

/** Values that JSON has no word for, as far as the serializer has; `big` when it has one for big integers. */
const oddities = big => ({
	bytes: Buffer.from([1, 2]),
	list: [Buffer.from("hi"), null],
	float: 1.5,
	whole: 2 ** 40,
	text: "[[DT]]5",
	date: new Date(1500000000123),
	nothing: undefined,
	...(big ? { big: 9007199254740993n } : {})
});

/** What a handler sees of its context. */
const seen = ctx => ({
	id: ctx.id,
	requestID: ctx.requestID,
	parentID: ctx.parentID,
	level: ctx.level,
	caller: ctx.caller,
	nodeID: ctx.nodeID,
	timeout: ctx.options.timeout ?? null,
	paramsKind: ctx.params === undefined ? "undefined" : ctx.params === null ? "null" : typeof ctx.params,
	params: ctx.params,
	meta: ctx.meta,
	headers: ctx.headers ?? null
});

exports.all = Errors => [
	{
		name: "js",
		actions: {
			echo: ctx => ctx.params,
			seen,
			node: ctx => ctx.broker.nodeID,
			undefined: () => undefined,
			null: () => null,
			buffer: () => Buffer.from([0, 1, 254, 255]),
			/** Puts its params over the caller's meta. */
			meta(ctx) {
				Object.assign(ctx.meta, ctx.params);
				return true;
			},
			/** Changes the meta, then fails. */
			metaThenFail(ctx) {
				ctx.meta.touched = "before the error";
				throw new Errors.MoleculerClientError("no", 409, "CONFLICT", { a: 1 });
			},
			/** Throws an error of the wanted class, made with these arguments, with fields of its own. */
			fail(ctx) {
				const { className, message, code, type, data, extra, args } = ctx.params;
				const err = new Errors[className](...(args ?? [message, code, type, data]));
				throw Object.assign(err, extra);
			},
			/** Throws what is no Moleculer error at all. */
			plainError() {
				throw new TypeError("just JavaScript");
			},
			/** Answers after a while. */
			slow: ctx => new Promise(resolve => setTimeout(resolve, ctx.params.ms, "slow")),
			/** Never answers. */
			silent: () => new Promise(() => {}),
			/** Calls on, and says how that ended. */
			async relay(ctx) {
				const { action, params, options } = ctx.params;
				const result = await ctx.call(action, params, options);
				return { result, meta: ctx.meta };
			},
			async emit(ctx) {
				await ctx.emit(ctx.params.event, ctx.params.data);
			}
		}
	},
	{
		name: "js.checked",
		actions: {
			echo: {
				params: { $$strict: true, id: "number|positive", tags: "string[]|optional" },
				handler: ctx => ctx.params
			}
		}
	},
	{
		name: "shelf",
		actions: {
			/** Gives what it is told, or says that JavaScript made it. */
			get: {
				cache: { keys: ["id", "#tenant"], ttl: 300 },
				handler: ctx => ("give" in ctx.params ? ctx.params.give : { js: true })
			}
		}
	},
	{
		name: "odd",
		actions: {
			give: ctx => oddities(ctx.params.big),
			/** Shows the kinds of what came. */
			show: ctx => shown(ctx.params),
			/** Has another action give them back, and shows the kinds of what came. */
			async echo(ctx) {
				return shown(await ctx.call(ctx.params.action, oddities(ctx.params.big)));
			}
		}
	},
	{ name: "js.versioned", version: 3, actions: { version: () => 3 } },
	{
		// What it advertises is applied by its callers.
		name: "js.faulty",
		actions: {
			/** Fails twice, then says how often it was called. */
			flaky: {
				retryPolicy: { enabled: true, retries: 2, delay: 10 },
				handler() {
					this.calls = (this.calls ?? 0) + 1;
					if (this.calls < 3) throw new Errors.MoleculerRetryableError("busy", 503, "BUSY");
					return this.calls;
				}
			},
			broken: {
				circuitBreaker: { enabled: true, minRequestCount: 2, halfOpenTime: 60_000 },
				handler() {
					throw new Errors.MoleculerServerError("broken", 500, "BROKEN");
				}
			},
			/** One call runs, one waits. */
			narrow: {
				bulkhead: { enabled: true, concurrency: 1, maxQueueSize: 1 },
				handler: ctx => new Promise(resolve => setTimeout(resolve, ctx.params.ms, "done"))
			}
		}
	}
];
