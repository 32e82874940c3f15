"use strict";
// The Moleculer JS side of the benchmarks: a real 0.15 broker, told what to measure by one JSON command per
// line on stdin, and answering `#ID {ok}` or `#ID {error}` with one line each. Usage: node broker.js
//
// The process ends when stdin does, so it never outlives the program that started it. Calls are counted
// here and not in the driver, so that a figure holds nothing but Moleculer's own work.

const readline = require("node:readline");
const { Readable } = require("node:stream");
const { performance } = require("node:perf_hooks");
const { ServiceBroker } = require("moleculer-0.15");

// A clock is read once per so many sequential calls: it costs a tenth of a local one.
const CALLS_PER_LOOK = 1000;

let broker = null;

/** A stream of `n` chunks of 64 KiB, as the guest `kit` gives one. */
function chunks(n) {
	const chunk = Buffer.from(Uint8Array.from({ length: 64 << 10 }, (_, i) => i));
	return Readable.from(Array(n).fill(chunk), { objectMode: false });
}

async function count(stream) {
	let bytes = 0;
	for await (const chunk of stream) bytes += chunk.length;
	return bytes;
}

const countBytes = ctx => count(ctx.stream);

const commands = {
	/** Starts a broker with all default middlewares. `service`: the name of an echo service, or none. */
	async start({ options, service }) {
		broker = new ServiceBroker({ logger: false, ...options });
		if (service)
			broker.createService({
				name: service,
				actions: { echo: ctx => ctx.params, countBytes, giveBytes: ctx => chunks(ctx.params.n) },
				events: { "bench.event"() {} }
			});
		await broker.start();
		return { version: ServiceBroker.MOLECULER_VERSION, node: process.version };
	},

	async waitForServices({ services }) {
		await broker.waitForServices(services, 20_000, 10);
	},

	/** One call, to see that the right thing is measured. */
	async call({ action, params }) {
		return await broker.call(action, params);
	},

	/** Calls one after the other for about `ms` milliseconds. */
	async sequence({ action, params, ms }) {
		const start = performance.now();
		let calls = 0;
		let now = start;
		while (now - start < ms) {
			for (let i = 0; i < CALLS_PER_LOOK; i++) await broker.call(action, params);
			calls += CALLS_PER_LOOK;
			now = performance.now();
		}
		return { calls, ms: now - start };
	},

	/** Keeps `parallel` calls in flight for `ms` milliseconds, and waits for the last ones. */
	async load({ action, params, parallel, ms }) {
		const start = performance.now();
		let calls = 0;
		const worker = async () => {
			while (performance.now() - start < ms) {
				await broker.call(action, params);
				calls++;
			}
		};
		await Promise.all(Array.from({ length: parallel }, worker));
		return { calls, ms: performance.now() - start };
	},

	/** Sends events for about `ms` milliseconds; a call after every `perCall` of them waits until they arrived. */
	async events({ action, event, data, perCall, broadcast, ms }) {
		const send = broadcast ? "broadcast" : "emit";
		const start = performance.now();
		let events = 0;
		while (performance.now() - start < ms) {
			for (let i = 0; i < perCall; i++) await broker[send](event, data);
			events += perCall;
			await broker.call(action, data);
		}
		return { events, ms: performance.now() - start };
	},

	/** Sends streams of `n` chunks one after the other for about `ms` milliseconds. */
	async upload({ action, n, ms }) {
		return await transfer(ms, () => broker.call(action, {}, { stream: chunks(n) }));
	},

	/** The same in the other direction. */
	async download({ action, n, ms }) {
		return await transfer(ms, async () => await count(await broker.call(action, { n })));
	},

	async stop() {
		await broker.stop();
	}
};

/** Bytes of streams, each of which says at its end how many they were. */
async function transfer(ms, one) {
	const start = performance.now();
	let bytes = 0;
	while (performance.now() - start < ms) bytes += await one();
	return { bytes, ms: performance.now() - start };
}

async function run(line) {
	const { id, do: name, ...args } = JSON.parse(line);
	try {
		return `#${id} ${JSON.stringify({ ok: (await commands[name](args)) ?? null })}\n`;
	} catch (err) {
		return `#${id} ${JSON.stringify({ error: `${err.name}: ${err.message}` })}\n`;
	}
}

readline
	.createInterface({ input: process.stdin })
	.on("line", async line => process.stdout.write(await run(line)))
	.on("close", () => process.exit(0));
