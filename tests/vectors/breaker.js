"use strict";
// Records how the circuit breaker of the real Moleculer opens and closes, on a clock of its own.
// Usage: node tests/vectors/breaker.js > tests/vectors/breaker.json
//
// A scenario is the options of a breaker and a list of steps: `begin` a call (it is kept waiting), `end` it (well, or
// with an error), `wait` some milliseconds. After each step: whether the endpoint is available, and the events of the
// step. A `begin` whose call is refused gives its error. Scenarios in which Moleculer forgets a circuit that is not
// closed (its window ends twice without a call) are left out: there we differ on purpose.

const path = require("node:path");
const { mock } = require("node:test");
mock.timers.enable({ apis: ["setTimeout", "setInterval", "setImmediate", "Date"] });
const { ServiceBroker, Errors } = require(path.join(__dirname, "../peers/node_modules/moleculer-0.15"));

// Lets everything run that waits for no timer.
const settle = async () => {
	for (let i = 0; i < 50; i++) await Promise.resolve();
};

async function play({ options, steps }) {
	const broker = new ServiceBroker({ nodeID: "me", logger: false, circuitBreaker: { enabled: true, ...options } });
	const waiting = new Map();
	const events = [];
	const listen = name => ctx => void events.push({ name, data: ctx.params });
	broker.createService({
		name: "t",
		actions: { a: ctx => new Promise((resolve, reject) => waiting.set(ctx.params.id, { resolve, reject })) },
		events: Object.fromEntries(
			["opened", "half-opened", "closed"].map(name => ["$circuit-breaker." + name, listen("$circuit-breaker." + name)])
		)
	});
	const starting = broker.start();
	for (let i = 0; i < 20; i++) {
		mock.timers.tick(0);
		await settle();
	}
	await starting;
	// Calls and the ends of windows do not fall together, nor do half-open times, which end in 5.
	mock.timers.tick(5);
	const endpoint = broker.registry.getActionEndpoints("t.a").endpoints[0];
	const seen = [];
	let forgot = false;
	for (const step of steps) {
		let error;
		if (step.begin != null) {
			broker.call("t.a", { id: step.begin }).catch(err => (error = err.name));
		} else if (step.end != null) {
			const call = waiting.get(step.end);
			// It was refused.
			if (!call) continue;
			if (step.error) {
				const err = new Errors.MoleculerError("e", step.error.code, "E");
				if (step.error.nodeID) err.nodeID = step.error.nodeID;
				call.reject(err);
			} else call.resolve(1);
		} else {
			// In small pieces, so that a timer that a timer starts begins at its time.
			for (let ms = 0; ms < step.wait; ms += 10) {
				const before = broker.CircuitBreakerStore.get("me:t.a");
				mock.timers.tick(10);
				const now = broker.CircuitBreakerStore.get("me:t.a");
				if (before && !now && before.state !== "close") forgot = true;
				await settle();
			}
		}
		await settle();
		const refused = step.begin != null && !waiting.has(step.begin) ? error : undefined;
		seen.push({ ...step, refused, available: endpoint.state, events: events.splice(0) });
	}
	broker.middlewares.callHandlers("stopped", [broker]);
	return forgot ? null : { options, steps: seen };
}

// Numbers that are the same in every run.
function random(seed) {
	return below => {
		seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0;
		return Math.floor((seed / 2 ** 32) * below);
	};
}

const ok = id => [{ begin: id }, { end: id }];
const fail = (id, code = 500, nodeID) => [{ begin: id }, { end: id, error: { code, nodeID } }];

const written = [
	{ options: { minRequestCount: 2 }, steps: [...fail("1"), ...fail("2"), { begin: "3" }] },
	{ options: { minRequestCount: 2 }, steps: [...fail("1"), ...ok("2"), { begin: "3" }] },
	{ options: { minRequestCount: 3, threshold: 0.6 }, steps: [...fail("1"), ...ok("2"), ...fail("3"), { begin: "4" }] },
	{ options: { minRequestCount: 1 }, steps: [...fail("1", 499), ...fail("2", 500, "other"), ...fail("3", 500, "me")] },
	{
		options: { minRequestCount: 1, halfOpenTime: 495 },
		steps: [...fail("1"), { wait: 490 }, { wait: 10 }, { begin: "2" }, { begin: "3" }, { end: "2" }, ...ok("4")]
	},
	{
		options: { minRequestCount: 1, halfOpenTime: 495 },
		steps: [...fail("1"), { wait: 500 }, { begin: "2" }, { end: "2", error: { code: 500 } }, { wait: 500 }, ...ok("3")]
	},
	{
		options: { minRequestCount: 1, halfOpenTime: 495 },
		steps: [...fail("1"), { wait: 500 }, { begin: "2" }, { wait: 500 }, ...ok("3"), { end: "2", error: { code: 500 } }]
	},
	{
		options: { minRequestCount: 3, halfOpenTime: 495, windowTime: 1 },
		steps: [...fail("1"), ...fail("2"), { wait: 990 }, ...ok("w"), { wait: 50 }, ...fail("3"), ...fail("4"), ...fail("5")]
	},
	{
		options: { minRequestCount: 2, halfOpenTime: 795, windowTime: 1 },
		steps: [...fail("1"), { wait: 500 }, ...fail("2"), { wait: 800 }, ...fail("3"), { wait: 800 }, ...ok("4")]
	},
	{
		options: { minRequestCount: 2, halfOpenTime: 495 },
		steps: [{ begin: "1" }, { begin: "2" }, { begin: "3" }, { end: "1", error: { code: 503 } },
			{ end: "2", error: { code: 503 } }, { end: "3", error: { code: 503 } }, { wait: 500 }, { begin: "4" }, { end: "4" }]
	},
	{ options: { minRequestCount: 0, threshold: 0 }, steps: [...ok("1"), { begin: "2" }] }
];

function invented(seed) {
	const next = random(seed);
	const options = {
		minRequestCount: 1 + next(5),
		threshold: [0.25, 0.5, 0.75, 1][next(4)],
		windowTime: [1, 2, 60][next(3)],
		halfOpenTime: [305, 705, 1505][next(3)]
	};
	const steps = [];
	let open = [];
	let n = 0;
	for (let i = 0; i < 40; i++) {
		const what = next(10);
		if (what < 4 && open.length < 4) {
			steps.push({ begin: `c${n}` });
			open.push(`c${n++}`);
		} else if (what < 8 && open.length > 0) {
			const [id] = open.splice(next(open.length), 1);
			const kind = next(10);
			if (kind < 4) steps.push({ end: id });
			else if (kind < 8) steps.push({ end: id, error: { code: 500 + next(5) } });
			else if (kind < 9) steps.push({ end: id, error: { code: 400 } });
			else steps.push({ end: id, error: { code: 500, nodeID: "other" } });
		} else steps.push({ wait: 10 * (1 + next(60)) });
	}
	return { options, steps };
}

(async () => {
	const scenarios = [];
	for (const scenario of written) scenarios.push(await play(scenario));
	for (let seed = 1; scenarios.filter(Boolean).length < 60; seed++) scenarios.push(await play(invented(seed)));
	const lines = scenarios.filter(Boolean).map(scenario => "\t" + JSON.stringify(scenario));
	process.stdout.write(`[\n${lines.join(",\n")}\n]\n`);
	process.exit(0);
})();
