"use strict";
// A real Moleculer broker that a test drives: one JSON command per line on stdin, one JSON answer per line
// on stdout, `#ID {ok}` or `#ID {error}`. Usage: node peer.js 0.15|0.14
//
// Values keep JavaScript's difference between undefined, null and a Buffer: see `wrap`. The process ends
// when stdin does, so it never outlives the test that started it.

const readline = require("node:readline");

const version = process.argv[2];
const { ServiceBroker, Errors, Middlewares, TracerExporters } = require(`moleculer-${version}`);
const schemas = require("./services");
const streams = require("./streams");

// Moleculer documents this exporter and has it, but does not know it by its name.
TracerExporters.register("DatadogSimple", require(`./node_modules/moleculer-${version}/src/tracing/exporters/datadog-simple`));

let broker = null;
const received = []; // every event that a listener got, in order
const locks = new Map(); // how to release those that are held
const waiting = new Set(); // checks to run after each change

const wrap = value =>
	value === undefined
		? { kind: "undefined" }
		: Buffer.isBuffer(value)
			? { kind: "buffer", value: value.toString("latin1") }
			: { kind: "value", value };

const unwrap = ({ kind, value }) =>
	kind === "undefined" ? undefined : kind === "buffer" ? Buffer.from(value, "latin1") : value;

/** All fields that an error has, own or inherited, and its class as seen by `instanceof`. */
function plainError(err) {
	const classes = Object.keys(Errors).filter(name => err instanceof Errors[name]);
	const { name, message, stack, code, type, data, nodeID, retryable } = err;
	return { ...err, name, message, stack, code, type, data, nodeID, retryable, classes, ctx: undefined };
}

/** Resolves when `ready()` gives something; fails with what `describe()` says when that takes too long. */
function eventually(ready, timeout, describe) {
	return new Promise((resolve, reject) => {
		const check = () => {
			const result = ready();
			if (result === undefined) return false;
			clearTimeout(timer);
			clearInterval(again);
			waiting.delete(check);
			resolve(result);
			return true;
		};
		const timer = setTimeout(() => {
			clearInterval(again);
			waiting.delete(check);
			reject(new Error(describe()));
		}, timeout);
		// The registry has no hook for every change, so it is also looked at from time to time.
		const again = setInterval(check, 10);
		waiting.add(check);
		check();
	});
}

const changed = () => [...waiting].forEach(check => check());

/** Middlewares as the options of our nodes name them. */
const transmit = ({ name, options }) =>
	name === "Encryption"
		? Middlewares.Transmit.Encryption(options.password, options.algorithm, options.iv)
		: Middlewares.Transmit[name](options);

const commands = {
	async start({ options, listen = [] }) {
		const middlewares = options.middlewares?.map(transmit);
		broker = new ServiceBroker({ logger: false, ...options, middlewares });
		const record = ctx => {
			received.push({
				service: ctx.service.fullName,
				event: ctx.eventName,
				type: ctx.eventType,
				groups: ctx.eventGroups ?? null,
				data: wrap(ctx.params),
				meta: ctx.meta,
				headers: ctx.headers ?? null,
				id: ctx.id,
				requestID: ctx.requestID,
				parentID: ctx.parentID,
				level: ctx.level,
				caller: ctx.caller,
				nodeID: ctx.nodeID
			});
			changed();
		};
		for (const schema of schemas.all(Errors)) broker.createService(schema);
		broker.createService(streams.service(Errors));
		for (const { service, event, group } of listen)
			broker.createService({ name: service, events: { [event]: { group, handler: record } } });
		await broker.start();
		return { nodeID: broker.nodeID, version: ServiceBroker.MOLECULER_VERSION };
	},

	async stop() {
		await broker.stop();
	},

	async call({ action, params, options }) {
		const promise = broker.call(action, unwrap(params), options);
		try {
			const result = await promise;
			const { meta, responseHeaders } = promise.ctx;
			return { result: wrap(result), meta, headers: responseHeaders ?? null };
		} catch (err) {
			// The meta that the callee left comes back with the error, too.
			err.callerMeta = promise.ctx?.meta ?? err.ctx?.meta;
			throw err;
		}
	},

	/** Calls `count` times, `parallel` at once; answers who answered how often and what failed. */
	async load({ action, params, options, count, parallel }) {
		const results = {};
		const errors = [];
		let begun = 0;
		const worker = async () => {
			while (begun++ < count) {
				try {
					const key = JSON.stringify(await broker.call(action, unwrap(params), options));
					results[key] = (results[key] ?? 0) + 1;
				} catch (err) {
					errors.push(plainError(err));
				}
			}
		};
		await Promise.all(Array.from({ length: parallel }, worker));
		return { results, errors };
	},

	async emit({ event, data, options }) {
		await broker.emit(event, unwrap(data), options);
	},

	async broadcast({ event, data, options }) {
		await broker.broadcast(event, unwrap(data), options);
	},

	async ping({ nodeID, timeout }) {
		return broker.ping(nodeID, timeout);
	},

	async waitForServices({ services, timeout }) {
		await broker.waitForServices(services, timeout, 10);
	},

	/** Waits until a node is (un)available, and says what is known of it. */
	async waitForNode({ nodeID, available, timeout }) {
		return eventually(
			() => {
				const node = broker.registry.nodes.toArray().find(item => item.id === nodeID);
				if ((node?.available ?? false) !== available) return undefined;
				return node ? { ...node, services: undefined } : null;
			},
			timeout,
			() => `node '${nodeID}' did not become ${available ? "" : "un"}available`
		);
	},

	/** Waits until `count` events of this name came, and gives all that did. */
	async received({ event, count, timeout }) {
		const matching = () => received.filter(item => item.event === event);
		return eventually(
			() => (matching().length >= count ? matching() : undefined),
			timeout,
			() => `${matching().length} of ${count} events '${event}' came`
		);
	},

	async clear() {
		received.length = 0;
	},

	/** Calls a function of the cacher. */
	async cacher({ method, args }) {
		return broker.cacher[method](...args);
	},

	/** Waits until the cacher is connected. */
	async cacherConnected({ timeout }) {
		const ready = () => (broker.cacher.connected ? true : undefined);
		return eventually(ready, timeout, () => "the cacher is not connected");
	},

	/** Takes a lock of the cacher if it is free, and says whether it was. */
	async tryLock({ key, ttl }) {
		try {
			locks.set(key, await broker.cacher.tryLock(key, ttl));
			return true;
		} catch {
			return false;
		}
	},

	async unlock({ key }) {
		await locks.get(key)();
	}
};

Object.assign(commands, streams.commands(() => broker, version, Errors));

async function run(line) {
	const { id, do: name, ...args } = JSON.parse(line);
	try {
		const ok = (await commands[name](args)) ?? null;
		return `#${id} ${JSON.stringify({ ok })}\n`;
	} catch (err) {
		return `#${id} ${JSON.stringify({ error: plainError(err) })}\n`;
	}
}

readline
	.createInterface({ input: process.stdin })
	.on("line", async line => process.stdout.write(await run(line)))
	.on("close", () => process.exit(0));
