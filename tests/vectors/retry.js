"use strict";
// Records the delays that the real Moleculer makes between the attempts of a call that always fails.
// Usage: node tests/vectors/retry.js > tests/vectors/retry.json
// `delays` are the milliseconds before each retry, `attempts` how often the action ran.

const path = require("node:path");
const { ServiceBroker, Errors } = require(path.join(__dirname, "../peers/node_modules/moleculer-0.15"));

const cases = [
	{ broker: { enabled: true } },
	{ broker: { enabled: false } },
	{ broker: { enabled: true }, error: { retryable: false } },
	{ broker: { enabled: true, retries: 0 } },
	{ broker: { enabled: true, retries: 12 } },
	{ broker: { enabled: true, delay: 0 } },
	{ broker: { enabled: true, factor: 1 } },
	{ broker: { enabled: true, factor: 1.5, retries: 8 } },
	{ broker: { enabled: true, factor: 0.5, retries: 8 } },
	{ broker: { enabled: true, factor: 0, retries: 3 } },
	{ broker: { enabled: true, factor: 10, maxDelay: 100_000 } },
	{ broker: { enabled: true, delay: 5000 } },
	{ broker: { enabled: true, maxDelay: 0 } },
	{ broker: { enabled: true }, call: { retries: 2 } },
	{ broker: { enabled: true }, call: { retries: 0 } },
	{ broker: { enabled: true, retries: 1 }, call: { retries: 7 } },
	{ broker: { enabled: false }, action: { enabled: true, retries: 2 } },
	{ broker: { enabled: true }, action: { enabled: false } },
	{ broker: { enabled: true, delay: 7 }, action: { factor: 3, maxDelay: 50 } },
	{ broker: { enabled: true }, action: { retries: 1, delay: 20 }, call: { retries: 3 } }
];

async function record({ broker: retryPolicy, action, call, error }) {
	const delays = [];
	const broker = new ServiceBroker({ logger: false, retryPolicy });
	broker.Promise.delay = ms => {
		delays.push(ms);
		return Promise.resolve();
	};
	let attempts = 0;
	const definition = {
		handler() {
			attempts++;
			throw error?.retryable === false ? new Errors.MoleculerError("e") : new Errors.MoleculerRetryableError("e");
		}
	};
	if (action) definition.retryPolicy = action;
	broker.createService({ name: "t", actions: { a: definition } });
	await broker.start();
	attempts = 0;
	delays.length = 0;
	await broker.call("t.a", {}, call).catch(() => {});
	return { broker: retryPolicy, action, call, error, delays: delays.slice(), attempts };
}

(async () => {
	const lines = [];
	for (const one of cases) lines.push("\t" + JSON.stringify(await record(one)));
	process.stdout.write(`[\n${lines.join(",\n")}\n]\n`);
	process.exit(0);
})();
