// What a service meets at run time, on a mock host: contexts and calls, events, validation, timers, waiting for
// one another, streams, what it exports, and what it says of itself.

import assert from "node:assert";
import { Readable } from "node:stream";
import { test } from "node:test";

import { serve } from "./mock-host.mjs";
import { Service } from "../src/moleculer/service.js";
import { Errors } from "../src/moleculer/errors.js";
import { lookUp } from "../src/runtime/stack.js";
import { TextDecoder as OurDecoder, TextEncoder as OurEncoder } from "../src/runtime/text.js";
import { decode } from "../src/runtime/payload.js";

const echo = { "x.echo": params => params };

test("calls are in flight at once, and no future stays open", async () => {
	let [running, most] = [0, 0];
	const answers = {
		"x.slow": async n => {
			most = Math.max(most, (running += 1));
			await new Promise(done => setTimeout(done, 5));
			running -= 1;
			return n;
		}
	};
	const service = serve({ name: "a", actions: { all: ctx => Promise.all([1, 2, 3].map(n => ctx.call("x.slow", n))) } }, { answers });
	assert.deepStrictEqual((await service.call("all")).value, [1, 2, 3]);
	assert.strictEqual(most, 3);
	assert.strictEqual(service.host.open, 0);
});

test("meta flows to callees and back, also from those that fail", async () => {
	const answers = {
		"x.ok": (_, __, state) => void (state.meta.fromOk = state.meta.own),
		"x.bad": (_, __, state) => {
			state.meta.fromBad = 1;
			throw new Error("bad");
		}
	};
	const service = serve(
		{
			name: "a",
			actions: {
				async go(ctx) {
					ctx.meta.own = 5;
					await ctx.call("x.ok");
					await ctx.call("x.bad").catch(() => {});
					ctx.meta.last = ctx.meta.fromBad;
					ctx.responseHeaders.kind = "b";
				}
			}
		},
		{ answers }
	);
	const { meta, responseHeaders } = await service.call("go", {}, { meta: { given: true } });
	assert.deepStrictEqual(meta, { given: true, own: 5, fromOk: 5, fromBad: 1, last: 1 });
	assert.deepStrictEqual(responseHeaders, { kind: "b" });
});

test("options of calls and events are passed on, and those that are the SDK's stay", async () => {
	const service = serve(
		{
			name: "a",
			actions: {
				async go(ctx) {
					await ctx.call("x.echo", { a: 1 }, { timeout: 5, meta: { m: 1 }, nodeID: "n", unknown: 1 });
					await this.broker.call("x.echo", undefined, { parentCtx: ctx, retries: 2 });
					await ctx.emit("e.one", { a: 1 }, { groups: ["g"], meta: { m: 2 } });
					await ctx.emit("e.two", null, ["mail"]);
					await this.broker.broadcast("e.three", Buffer.from("x"));
					await this.broker.broadcastLocal("e.four");
					return ctx.call("x.bad", {}, { fallbackResponse: (_ctx, error) => `instead of ${error.message}` });
				}
			}
		},
		{ answers: { ...echo, "x.bad": async () => Promise.reject(new Error("bad")) } }
	);
	assert.strictEqual((await service.call("go")).value, "instead of bad");
	assert.deepStrictEqual(service.host.calls.map(({ options }) => options), [{ timeout: 5, meta: { m: 1 }, nodeID: "n" }, { retries: 2 }, {}]);
	assert.deepStrictEqual(service.host.calls.map(({ params }) => params).slice(0, 2), [{ a: 1 }, undefined]);
	assert.deepStrictEqual(service.host.events.map(({ how, event, options }) => [how, event, options]), [
		["emit", "e.one", { groups: ["g"], meta: { m: 2 } }],
		["emit", "e.two", { groups: ["mail"] }],
		["broadcast", "e.three", {}],
		["broadcastLocal", "e.four", {}]
	]);
	assert.ok(Buffer.isBuffer(service.host.events[2].data));
	assert.strictEqual(service.host.events[3].data, undefined);
});

test("mcall has Moleculer's forms", async () => {
	const actions = {
		list: ctx => ctx.mcall([{ action: "x.echo", params: 1 }, { action: "x.echo", params: 2 }]),
		named: ctx => ctx.mcall({ a: { action: "x.echo", params: 1 } }),
		settled: ctx => ctx.mcall([{ action: "x.echo", params: 1 }, { action: "none.there" }], { settled: true }),
		fails: ctx => ctx.mcall([{ action: "none.there" }])
	};
	const service = serve({ name: "a", actions }, { answers: echo });
	assert.deepStrictEqual((await service.call("list")).value, [1, 2]);
	assert.deepStrictEqual((await service.call("named")).value, { a: 1 });
	assert.deepStrictEqual((await service.call("settled")).value.map(({ status }) => status), ["fulfilled", "rejected"]);
	assert.strictEqual((await service.call("fails")).failure.name, "ServiceNotFoundError");
});

test("values keep their kind", async () => {
	const service = serve({
		name: "a",
		actions: {
			none() {},
			null: () => null,
			bytes: () => Buffer.from("häh"),
			kind: ctx => [typeof ctx.params, Buffer.isBuffer(ctx.params), ctx.params === null]
		}
	});
	assert.strictEqual((await service.call("none")).value, undefined);
	assert.strictEqual((await service.call("null")).value, null);
	assert.strictEqual((await service.call("bytes")).value.toString(), "häh");
	assert.deepStrictEqual((await service.call("kind", undefined)).value, ["object", false, false]);
	assert.deepStrictEqual((await service.call("kind", null)).value, ["object", false, true]);
	assert.deepStrictEqual((await service.call("kind", Buffer.from("x"))).value, ["object", true, false]);
});

test("a handler may give a value, a promise, or what only has the form of one", async () => {
	const thenable = value => ({ then: resolve => void resolve(value) });
	const waits = async () => {
		for (let turn = 0; turn < 20; turn += 1) await null;
		return 4;
	};
	const actions = { value: () => 1, promise: async () => 2, thenable: () => thenable(3), waits, failing: () => thenable(Promise.reject(new Error("no"))) };
	const service = serve({ name: "a", actions });
	for (const [index, name] of Object.keys(actions).slice(0, 4).entries()) {
		assert.strictEqual((await service.call(name)).value, index + 1, name);
	}
	assert.strictEqual((await service.call("failing")).failure.message, "no");
});

test("whatever a handler throws leaves as a failure", async () => {
	const ring = {};
	ring.ring = ring;
	const service = serve({
		name: "a",
		actions: {
			text() {
				throw "only a text";
			},
			nothing() {
				throw undefined;
			},
			ring() {
				return ring;
			},
			data() {
				throw new Errors.MoleculerError("m", 500, "T", ring);
			},
			odd() {
				throw { toString: null };
			},
			code() {
				throw Object.assign(new Error("no file"), { code: "ENOENT" });
			}
		}
	});
	for (const name of ["text", "nothing", "ring", "data", "odd"]) {
		const { failure } = await service.call(name);
		assert.strictEqual(typeof failure.message, "string", name);
	}
	assert.deepStrictEqual(JSON.parse((await service.call("code")).failure.extra), { code: "ENOENT" });
	assert.strictEqual((await service.call("not-there")).failure.name, "ServiceNotFoundError");
});

test("events come in both forms, by the rule of the project's Moleculer", async () => {
	const got = [];
	const events = {
		"a.*"(ctx) {
			got.push(["ctx", ctx.params, ctx.eventName, ctx.eventType, ctx.eventGroups]);
		},
		"b.*"(payload, sender, event, ctx) {
			got.push(["old", payload, sender, event, ctx && ctx.params]);
		},
		"c.*": { context: true, handler: payload => void got.push(["forced", payload.params]) },
		"d.*": user => void got.push(["arrow", user])
	};
	for (const moleculer of [undefined, "0.14.35", "0.15.1"]) {
		const service = serve({ name: "s", events }, { moleculer });
		for (const key of "abcd") await service.event(`${key}.*`, { n: 1 }, { name: `${key}.x`, eventGroups: ["g"] });
		const [a, b, c, d] = got.splice(0);
		assert.deepStrictEqual(a, ["ctx", { n: 1 }, "a.x", "emit", ["g"]]);
		assert.deepStrictEqual(c, ["forced", { n: 1 }]);
		if (moleculer === "0.15.1") {
			assert.strictEqual(b[1].eventName, "b.x");
			assert.strictEqual(d[1].eventName, "d.x");
		} else {
			assert.deepStrictEqual(b, ["old", { n: 1 }, "node-2", "b.x", { n: 1 }]);
			assert.deepStrictEqual(d, ["arrow", { n: 1 }]);
		}
	}
});

test("params with functions are checked here, with Moleculer's error", async () => {
	const service = serve({
		name: "a",
		actions: {
			even: { params: { n: { type: "custom", check: n => n % 2 === 0 || [{ type: "odd", actual: n }] } }, handler: ctx => ctx.params.n },
			plain: { params: { n: "number", s: { type: "string", pattern: /^a/i, optional: true } }, handler: ctx => ctx.params.n }
		}
	});
	const { actions } = service.schema();
	assert.strictEqual(actions.even.params, undefined);
	assert.deepStrictEqual(actions.plain.params.s, { type: "string", pattern: "^a", patternFlags: "i", optional: true });
	assert.strictEqual((await service.call("even", { n: 2 })).value, 2);
	const { failure } = await service.call("even", { n: 3 });
	assert.strictEqual(failure.name, "ValidationError");
	assert.deepStrictEqual(JSON.parse(failure.data), [{ type: "odd", actual: 3, field: "n", nodeID: "node-1", action: "a.even" }]);
});

test("mixins check their entities with the broker's validator", async () => {
	const actions = {
		compiled() {
			return this.broker.validator.compile({ title: "string" })({ title: 5 })[0].field;
		},
		validated: ctx => ctx.broker.validator.validate(ctx.params, { title: "string" })
	};
	const service = serve({ name: "a", actions });
	assert.strictEqual((await service.call("compiled")).value, "title");
	assert.strictEqual((await service.call("validated", { title: "x" })).value, true);
	assert.strictEqual((await service.call("validated", { title: 5 })).failure.type, "VALIDATION_ERROR");
});

test("this.actions runs hooks and rules, and takes its place in the chain", async () => {
	const service = serve({
		name: "a",
		hooks: { before: { inner: ctx => void (ctx.locals.hooked = true) } },
		actions: {
			inner: {
				params: { n: { type: "number", convert: true, default: 7 } },
				handler: ctx => ({ n: ctx.params.n, level: ctx.level, caller: ctx.caller, meta: ctx.meta, hooked: ctx.locals.hooked, request: ctx.requestID })
			},
			outer(ctx) {
				return this.actions.inner({ n: ctx.params.n }, { parentCtx: ctx, meta: { b: 2 } });
			}
		}
	});
	const { value } = await service.call("outer", { n: "5" }, { meta: { a: 1 } });
	assert.deepStrictEqual(value, { n: 5, level: 2, caller: "a", meta: { a: 1, b: 2 }, hooked: true, request: "request-1" });
	assert.strictEqual((await service.call("outer", {})).value.n, 7);
});

test("calls of one instance may wait for one another", async () => {
	let open;
	const gate = new Promise(done => (open = done));
	const service = serve({ name: "a", actions: { wait: () => gate, open: () => void open("opened") } });
	const waiting = service.call("wait");
	await service.call("open");
	assert.strictEqual((await waiting).value, "opened");
	assert.strictEqual(service.host.open, 0);
});

test("the operator's settings lie over those of the schema, and values that JSON does not hold stay", async () => {
	const settings = { a: 2, deep: { x: 9 }, pattern: String({}) };
	const service = serve(
		{ name: "a", settings: { a: 1, deep: { x: 1, y: 2 }, pattern: {}, own: /x/ }, created() { this.seen = this.settings.a; }, actions: { get() { return [this.seen, this.settings.deep, this.settings.own instanceof RegExp]; } } },
		{ settings: { ...settings, own: {} } }
	);
	assert.deepStrictEqual((await service.call("get")).value, [2, { x: 9, y: 2 }, true]);
});

test("created runs once, before anything else, and not for the description", async () => {
	const steps = [];
	const service = serve({ name: "a", created: () => void steps.push("created"), started: () => void steps.push("started"), actions: { go: () => steps.length } });
	service.schema();
	assert.deepStrictEqual(steps, []);
	await service.handler.started(service.host.context());
	assert.strictEqual((await service.call("go")).value, 2);
	assert.deepStrictEqual(steps, ["created", "started"]);
});

test("a fallback gets the error for which it runs", async () => {
	const cause = { name: "MoleculerError", message: "down", code: 500, type: "X", retryable: false, data: null, stack: null, extra: null };
	const service = serve({
		name: "a",
		actions: { byName: { fallback: "instead", handler() {} }, byFunction: { fallback: (ctx, error) => error.type, handler() {} } },
		methods: { instead: (ctx, error) => `${ctx.params.n} ${error.message}` }
	});
	assert.deepStrictEqual(service.schema().actions.byFunction.fallback, "fallback");
	assert.strictEqual((await service.call("byName|fallback", { n: 1 }, { cause })).value, "1 down");
	assert.strictEqual((await service.call("byFunction|fallback", {}, { cause })).value, "X");
});

test("a stream is written to the host piece by piece", async () => {
	const service = serve({ name: "a", actions: { go: () => Readable.from([Buffer.from("a"), Buffer.from("b")], { objectMode: false }) } });
	const handle = service.host.context({ name: "go" });
	const written = [];
	const settled = { read: async () => ({ tag: "ok" }), drop() {} };
	handle.respondStream = () => ({
		objectMode: () => false,
		write: chunk => (written.push(decode(chunk).toString()), settled),
		end: () => void written.push("end"),
		fail: failure => void written.push(failure)
	});
	assert.deepStrictEqual(await service.handler.callAction(handle, "go", { tag: "absent" }), { tag: "absent" });
	assert.deepStrictEqual(written.join(" "), "a b end");
});

test("a file exports a schema, a class, or a function of the broker", async () => {
	class Greeter extends Service {
		constructor(broker) {
			super(broker);
			this.parseServiceSchema({ name: "greeter", actions: { hello: this.hello } });
		}
		hello() {
			return this.text();
		}
		text() {
			return "hello";
		}
	}
	for (const exported of [Greeter, { default: Greeter }, broker => new Greeter(broker), { __esModule: true, default: { name: "greeter", actions: { hello: () => "hello" } } }, () => ({ name: "greeter", actions: { hello: () => "hello" } })]) {
		const service = serve(exported);
		assert.strictEqual(service.schema().name, "greeter");
		assert.strictEqual((await service.call("hello")).value, "hello");
	}
	for (const exported of [{}, null, [{ name: "a" }], Promise.resolve({}), class extends Service {}]) {
		assert.throws(() => serve(exported).schema(), Errors.ServiceSchemaError);
	}
});

test("what cannot be described is told", () => {
	const service = serve({ name: "a", metadata: { f() {} }, actions: { go: { cache: { keygen: () => "k" }, retryPolicy: { check: () => true, retries: 2 }, handler() {} } } });
	const { schema, warnings } = service.instance.describe();
	assert.strictEqual(schema.actions.go.cache, false);
	assert.deepStrictEqual(schema.actions.go.retryPolicy.retries, 2);
	assert.deepStrictEqual(warnings.map(text => text.split(":")[0]), ["metadata.f", "actions.go.retryPolicy.check", "actions.go.cache"]);
});

test("logging formats as the console of Node.js does", async () => {
	const service = serve({ name: "a", actions: { go() { this.logger.warn("%s has %d", "x", 5, { a: [1] }); this.broker.getLogger("db").info(new Error("e").message); } } });
	await service.call("go");
	assert.deepStrictEqual(service.host.lines, ["warn x has 5 { a: [ 1 ] }", "info DB: e"]);
});

test("the cacher keeps values", async () => {
	const schema = { name: "a", actions: { async go() { const { cacher } = this.broker; await cacher.set("a.k", { n: 1 }, 5); const got = await cacher.get("a.k"); await cacher.del("a.k"); return [got, await cacher.get("a.k") === null, (await cacher.getWithTTL("a.k")).data === null]; } } };
	assert.deepStrictEqual((await serve(schema).call("go")).value, [{ n: 1 }, false, false]);
	assert.deepStrictEqual((await serve(schema, { moleculer: "0.14.35" }).call("go")).value, [{ n: 1 }, true, true]);
});

test("text is encoded and decoded as by Node.js", () => {
	const texts = ["", "plain", "äöü€𝄞", "half \ud800 pair", "\ufeffmark", "x".repeat(20000)];
	for (const text of texts) assert.deepStrictEqual(new OurEncoder().encode(text), new TextEncoder().encode(text));
	const bytes = [[0xe4], [0xc0, 0x80], [0xe2, 0x82], [0xf0, 0x9d, 0x84, 0x9e], [0xed, 0xa0, 0x80], [0xef, 0xbb, 0xbf, 0x61], [0xff, 0x61], [0xf4, 0x90, 0x80, 0x80]];
	for (const input of bytes.map(list => new Uint8Array(list))) {
		assert.strictEqual(new OurDecoder().decode(input), new TextDecoder().decode(input), String(input));
		assert.strictEqual(new OurDecoder("utf-8", { ignoreBOM: true }).decode(input), new TextDecoder("utf-8", { ignoreBOM: true }).decode(input));
	}
	const parts = new OurDecoder();
	assert.strictEqual(parts.decode(new Uint8Array([0xe2, 0x82]), { stream: true }) + parts.decode(new Uint8Array([0xac])), "€");
	assert.throws(() => new OurDecoder("utf-8", { fatal: true }).decode(new Uint8Array([0xff])), TypeError);
});

test("a place of the bundle leads to the line of the user's file, and to none in the SDK", () => {
	const table = { files: ["a.js", "b.js"], runs: [[1, 1, -1, 0], [1, 50, 0, 3], [1, 70, 1, 9], [4, 1, 0, 12]] };
	assert.strictEqual(lookUp(table, 1, 49), null);
	assert.strictEqual(lookUp(table, 1, 50), "a.js:3");
	assert.strictEqual(lookUp(table, 1, 400), "b.js:9");
	assert.strictEqual(lookUp(table, 4, 7), "a.js:12");
	assert.strictEqual(lookUp(table, 9, 1), null);
});

test("spans go to the node, and end with the handler", async () => {
	const spans = [];
	const service = serve({
		name: "a",
		actions: {
			async run(ctx) {
				const span = ctx.startSpan("work", { type: "db", tags: { a: 1 }, service: this, ctx });
				assert.strictEqual(ctx.span, span);
				const ring = {};
				ring.ring = ring;
				span.addTags({ b: 2 }).addTags(ring).log("half", { of: 2 }).setError(new Error("no"));
				span.startSpan("part");
				const inner = ctx.startSpan("inner");
				ctx.finishSpan(inner);
				assert.ok(!inner.isActive() && span.isActive() && ctx.span === span);
				inner.addTags({ late: true });
				spans.push(span);
				setTimeout(() => spans.push(ctx.startSpan("late")), 1);
				await null;
			}
		}
	});
	await service.call("run");
	await new Promise(done => setTimeout(done, 20));
	const [work, part, inner] = service.host.spans;
	assert.deepStrictEqual(work, {
		name: "work",
		options: { type: "db", tags: { a: 1 } },
		tags: { b: 2 },
		logs: [["half", { of: 2 }]],
		error: "no",
		finished: true,
		parts: ["part"]
	});
	assert.ok(part.finished && inner.finished && !("late" in inner.tags));
	assert.strictEqual(service.host.spans.length, 3);
	assert.ok(!spans[0].isActive() && !spans[1].isActive());
});
