// Plays the scenarios of `scenarios.in.json` with real Moleculer brokers and writes what came of every step:
//   node tests/vectors/scenarios.js > tests/vectors/scenarios.json
// `tests/it/scenarios.rs` plays the same with brokers of ours and compares.
//
// A scenario has nodes with services. What a handler does is data, in `do`; see `behave` below.
"use strict";

const fs = require("node:fs");
const path = require("node:path");
const { ServiceBroker, Errors } = require(path.join(__dirname, "../peers/node_modules/moleculer-0.15"));

const delay = ms => new Promise(resolve => setTimeout(resolve, ms));

// The fields of an error that travel, in one order.
const errorFields = err => ({
	name: err.name,
	message: err.message,
	code: err.code ?? null,
	type: err.type ?? null,
	retryable: err.retryable ?? false,
	data: err.data === undefined ? null : JSON.parse(JSON.stringify(err.data))
});

const settle = promise => promise.then(
	value => ({ ok: value === undefined ? "(undefined)" : value }),
	err => ({ error: errorFields(err) })
);

function makeError(spec) {
	const Class = Errors[spec.class];
	if (spec.class === "ValidationError") return new Class(spec.message, spec.type, spec.data);
	const err = new Class(spec.message, spec.code, spec.type, spec.data);
	if (spec.retryable !== undefined) err.retryable = spec.retryable;
	return err;
}

function behave(world, nodeID, spec) {
	let n = 0;
	return async function (ctx) {
		n += 1;
		if (spec.wait) await delay(spec.wait);
		if (spec.record) {
			const event = { node: nodeID, by: spec.record, name: ctx.eventName, type: ctx.eventType, data: ctx.params };
			world.events.push(event);
		}
		if (spec.meta) Object.assign(ctx.meta, spec.meta);
		if (spec.fail && (spec.times === undefined || n <= spec.times)) throw makeError(spec.fail);
		if (spec.call) return ctx.call(spec.call, spec.params, spec.opts);
		if (spec.callForMeta) {
			await ctx.call(spec.callForMeta, spec.params, spec.opts).catch(() => null);
			return ctx.meta;
		}
		if (spec.emit) await ctx.emit(spec.emit, spec.data, spec.opts);
		switch (spec.give) {
			case "params": return ctx.params === undefined ? "(undefined)" : ctx.params;
			case "meta": return ctx.meta;
			case "count": return n;
			case "node": return nodeID;
			case "context": return { level: ctx.level, caller: ctx.caller, nodeID: ctx.nodeID, name: ctx.action.name };
			case "nothing": return undefined;
			default: return spec.give === undefined ? n : spec.give;
		}
	};
}

function service(world, nodeID, schema) {
	const real = { ...schema, actions: {}, events: {}, methods: {} };
	for (const [key, { do: spec, ...definition }] of Object.entries(schema.actions ?? {})) {
		real.actions[key] = { ...definition, handler: behave(world, nodeID, spec ?? {}) };
	}
	for (const [key, { do: spec, ...definition }] of Object.entries(schema.events ?? {})) {
		real.events[key] = { ...definition, handler: behave(world, nodeID, spec ?? {}) };
	}
	return real;
}

async function step(world, brokers, one) {
	const broker = brokers[one.from ?? Object.keys(brokers)[0]];
	if (one.call !== undefined) return settle(broker.call(one.call, one.params, one.opts));
	if (one.calls) {
		return Promise.all(one.calls.map(item =>
			settle(brokers[item.from ?? broker.nodeID].call(item.call, item.params, item.opts))));
	}
	if (one.mcall) return settle(broker.mcall(one.mcall, one.opts));
	for (const verb of ["emit", "broadcast", "broadcastLocal"]) {
		if (one[verb] !== undefined) {
			await broker[verb](one[verb], one.data, one.opts);
			await delay(30);
			return null;
		}
	}
	if (one.wait) {
		await delay(one.wait);
		return null;
	}
	if (one.stop) {
		await brokers[one.stop].stop();
		delete brokers[one.stop];
		await delay(30);
		return null;
	}
	if (one.events) {
		const order = event => JSON.stringify([event.node, event.by, event.name, event.data]);
		const events = world.events.splice(0).sort((a, b) => (order(a) < order(b) ? -1 : 1));
		return JSON.parse(JSON.stringify(events));
	}
	if (one.endpoints) {
		const list = await broker.call("$node.actions", { withEndpoints: true });
		const found = list.find(item => item.name === one.endpoints);
		return (found?.endpoints ?? [])
			.map(({ nodeID, state, available }) => ({ nodeID, state, available }))
			.sort((a, b) => (a.nodeID < b.nodeID ? -1 : 1));
	}
	throw new Error(`unknown step ${JSON.stringify(one)}`);
}

async function play(scenario, index) {
	const world = { events: [] };
	const brokers = {};
	for (const node of scenario.nodes) {
		const broker = new ServiceBroker({
			logger: false,
			namespace: `scenario-${index}`,
			transporter: scenario.nodes.length > 1 ? "Fake" : null,
			transit: { serviceChangedDebounceTime: 0 },
			...scenario.options,
			...node.options,
			nodeID: node.nodeID
		});
		for (const schema of node.services ?? []) broker.createService(service(world, node.nodeID, schema));
		brokers[node.nodeID] = broker;
	}
	const all = Object.values(brokers);
	await Promise.all(all.map(broker => broker.start()));
	await delay(100);
	const outcomes = [];
	for (const one of scenario.steps) outcomes.push((await step(world, brokers, one)) ?? null);
	await Promise.all(Object.values(brokers).map(broker => broker.stop()));
	return { name: scenario.name, outcomes };
}

async function main() {
	const scenarios = JSON.parse(fs.readFileSync(path.join(__dirname, "scenarios.in.json"), "utf8"));
	const played = [];
	for (const [index, scenario] of scenarios.entries()) played.push(await play(scenario, index));
	const lines = played.map(one => "\t" + JSON.stringify(one));
	process.stdout.write(`[\n${lines.join(",\n")}\n]\n`);
}

main().catch(err => {
	console.error(err);
	process.exit(1);
});
