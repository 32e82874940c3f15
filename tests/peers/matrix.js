"use strict";
// One side of the interoperability matrix: brokers of one Moleculer, one for each cell column, driven like
// peer.js: a JSON command per line on stdin, `#ID {ok}` or `#ID {error}` on stdout. Usage: node matrix.js 0.15|0.14
//
// Every check that this side begins is in `checks`; what the other side calls is in `service`. Both sides know the
// same values: see tests/src/matrix/values.rs.

const readline = require("node:readline");
const assert = require("node:assert/strict");
const { Readable } = require("node:stream");

const version = process.argv[2];
const { ServiceBroker, Errors } = require(`moleculer-${version}`);
const old = version === "0.14";

/** By the name that the test gave. */
const brokers = new Map();

/** As many bytes as do not fit into one chunk of Moleculer's, in chunks that are split and chunks that are not. */
const BYTES = Buffer.from(Array.from({ length: 300_000 }, (_, i) => (i * 7 + (i >> 8)) & 255));
const OBJECTS = Array.from({ length: 10 }, (_, n) => ({ n, text: "ü\u{1F600}", list: [n, null, { half: n / 2 }] }));

const bytes = () => Readable.from([BYTES.subarray(0, 10), BYTES.subarray(10)], { objectMode: false });
const objects = () => Readable.from(OBJECTS, { objectMode: true });

/** The chunks of a stream that another node sends. */
async function chunks(stream) {
	const all = [];
	for await (const chunk of stream) all.push(chunk);
	return all;
}

/** A stream goes in the place of the params in 0.14, beside them in 0.15. */
const callWith = (broker, action, stream) =>
	old ? broker.call(action, stream) : broker.call(action, { beside: true }, { stream });
const streamOf = ctx => (old ? ctx.params : ctx.stream);

/** Waits for what is told by `resolve`. */
function patience(what, start) {
	return new Promise((resolve, reject) => {
		const timer = setTimeout(() => reject(new Error(`waited in vain for ${what}`)), 15_000);
		start(value => {
			clearTimeout(timer);
			resolve(value);
		});
	});
}

/** Events that came, and who waits for more. */
class Inbox {
	events = [];
	waiting = null;

	push(event) {
		this.events.push(event);
		this.waiting?.();
	}

	next(name) {
		return patience(`event ${name}`, done => {
			this.waiting = () => {
				const found = this.events.find(event => event.name === name);
				if (found) done(found);
			};
			this.waiting();
		});
	}
}

/** What the other side calls; its name is that of this column, so that it is never another one's. */
const service = (name, inbox) => ({
	name,
	actions: {
		echo(ctx) {
			ctx.meta.back = ctx.meta.there;
			return ctx.params;
		},
		fail() {
			throw new Errors.MoleculerClientError("Not so.", 409, "NOT_SO", { list: [1, "ü"] });
		},
		async bytes(ctx) {
			return Buffer.concat(await chunks(streamOf(ctx))).equals(BYTES);
		},
		async objects(ctx) {
			assert.deepEqual(await chunks(streamOf(ctx)), OBJECTS);
			return true;
		},
		giveBytes: () => bytes(),
		giveObjects: () => objects()
	},
	events: {
		[`${name}.**`](ctx) {
			inbox.push({ name: ctx.eventName, data: ctx.params, broadcast: ctx.eventType === "broadcast" });
		}
	}
});

/** What this side begins; each ends when it is as it should be, or fails. `to` is the other side's service. */
const checks = {
	async call({ broker, to, values }) {
		const promise = broker.call(`${to}.echo`, values, { meta: { there: 1 } });
		assert.deepEqual(await promise, values);
		assert.equal(promise.ctx.meta.back, 1);
	},
	async emit({ broker, to, values, name }) {
		await broker.emit(`${to}.emitted`, { ...values, from: name });
	},
	async broadcast({ broker, to, values, name }) {
		await broker.broadcast(`${to}.broadcast`, { ...values, from: name });
	},
	/** An event that the other side has sent. */
	async heard({ inbox, event, values }) {
		const { data, broadcast } = await inbox.next(event);
		assert.deepEqual(data, values);
		return { broadcast };
	},
	async ping({ broker, to }) {
		const pong = await broker.ping(to, 10_000);
		assert.equal(pong?.nodeID, to);
	},
	async error({ broker, to }) {
		const error = await broker.call(`${to}.fail`).then(assert.fail, err => err);
		assert.ok(error instanceof Errors.MoleculerClientError, `${error}`);
		const { message, code, type, data, nodeID } = error;
		assert.deepEqual(
			{ message, code, type, data, nodeID },
			{ message: "Not so.", code: 409, type: "NOT_SO", data: { list: [1, "ü"] }, nodeID: to }
		);
	},
	async "send bytes"({ broker, to }) {
		assert.equal(await callWith(broker, `${to}.bytes`, bytes()), true);
	},
	async "send objects"({ broker, to }) {
		assert.equal(await callWith(broker, `${to}.objects`, objects()), true);
	},
	async "take bytes"({ broker, to }) {
		const taken = Buffer.concat(await chunks(await broker.call(`${to}.giveBytes`)));
		assert.ok(taken.equals(BYTES), `${taken.length} bytes`);
	},
	async "take objects"({ broker, to }) {
		assert.deepEqual(await chunks(await broker.call(`${to}.giveObjects`)), OBJECTS);
	}
};

const commands = {
	/** A broker with the service `name` that waits for the service `to`. */
	async start({ name, to, options }) {
		const broker = new ServiceBroker({ nodeID: name, logger: false, requestTimeout: 15_000, ...options });
		const inbox = new Inbox();
		brokers.set(name, { broker, inbox, name, to });
		broker.createService(service(name, inbox));
		await broker.start();
		await broker.waitForServices([to], 20_000, 10);
	},
	async check({ name, check, ...args }) {
		return checks[check]({ ...brokers.get(name), ...args });
	},
	async stop({ name }) {
		await brokers.get(name).broker.stop();
	}
};

async function run(line) {
	const { id, do: name, ...args } = JSON.parse(line);
	try {
		const ok = (await commands[name](args)) ?? null;
		return `#${id} ${JSON.stringify({ ok })}\n`;
	} catch (err) {
		return `#${id} ${JSON.stringify({ error: `${err.name}: ${err.message}` })}\n`;
	}
}

readline
	.createInterface({ input: process.stdin })
	.on("line", async line => process.stdout.write(await run(line)))
	.on("close", () => process.exit(0));
