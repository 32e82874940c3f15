"use strict";
// Moleculer JS calling itself: prints the nanoseconds of one local call, params of about 100 bytes.
// Usage: node local.js [CALLS]

const { ServiceBroker } = require("moleculer-0.15");

const calls = Number(process.argv[2] ?? 1_000_000);
const params = require("./params.json");

async function main() {
	const broker = new ServiceBroker({ logger: false });
	broker.createService({ name: "bench", actions: { echo: ctx => ctx.params } });
	await broker.start();
	const run = async count => {
		for (let i = 0; i < count; i++) await broker.call("bench.echo", params);
	};
	await run(Math.ceil(calls / 10)); // until the engine has compiled it
	const begun = process.hrtime.bigint();
	await run(calls);
	const nanoseconds = Number(process.hrtime.bigint() - begun) / calls;
	process.stdout.write(JSON.stringify({ nanoseconds }) + "\n");
	await broker.stop();
}

main();
