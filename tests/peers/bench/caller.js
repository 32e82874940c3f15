"use strict";
// A Moleculer JS node that calls `bench.echo` elsewhere, IN_FLIGHT at once, for SECONDS after a warm-up, and
// prints calls per second and the median and 99th percentile of one call in microseconds.
// Usage: node caller.js NATS_URL IN_FLIGHT SECONDS

const { ServiceBroker } = require("moleculer-0.15");

const [, , transporter, inFlight, seconds] = process.argv;
const params = require("./params.json");

async function main() {
	const broker = new ServiceBroker({ nodeID: "js-caller", transporter, logger: false });
	await broker.start();
	await broker.waitForServices("bench");
	let times = [];
	let end = 0;
	const worker = async () => {
		while (performance.now() < end) {
			const begun = performance.now();
			await broker.call("bench.echo", params);
			times.push(performance.now() - begun);
		}
	};
	const run = async length => {
		times = [];
		end = performance.now() + length * 1000;
		const begun = performance.now();
		await Promise.all(Array.from({ length: Number(inFlight) }, worker));
		return (times.length * 1000) / (performance.now() - begun);
	};
	await run(Number(seconds) / 4);
	const perSecond = await run(Number(seconds));
	times.sort((a, b) => a - b);
	const at = share => times[Math.min(times.length - 1, Math.floor(times.length * share))] * 1000;
	process.stdout.write(JSON.stringify({ perSecond, p50: at(0.5), p99: at(0.99) }) + "\n");
	await broker.stop();
}

main();
