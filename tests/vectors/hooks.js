"use strict";
// Records in which order the real Moleculer runs the hooks of a service, and what becomes of params, results
// and errors on the way. The guest `hooks` is the same service.
// Usage: node tests/vectors/hooks.js > tests/vectors/hooks.json

const path = require("node:path");
const { ServiceBroker, Errors } = require(path.join(__dirname, "../peers/node_modules/moleculer-0.15"));

/** Notes that something ran, and fails when the params say so. */
function step(ctx, name) {
	ctx.meta.trace = [...(ctx.meta.trace ?? []), name];
	if (ctx.params.fail?.includes(name))
		throw new Errors.MoleculerError(`failed in ${name}`, 500, "FAILED", { at: name });
}

const before = name => ctx => {
	step(ctx, `before ${name}`);
	ctx.params.seen = [...(ctx.params.seen ?? []), name];
};
const after = name => (ctx, result) => {
	step(ctx, `after ${name}`);
	return { ...result, after: [...(result.after ?? []), name] };
};
const error = name => (ctx, err) => {
	const place = `error ${name}`;
	step(ctx, place);
	if (ctx.params.recover?.includes(place)) return { recovered: err.message, by: place };
	err.message += `, seen by ${name}`;
	throw err;
};
function handler(ctx) {
	step(ctx, "action");
	return { seen: ctx.params.seen };
}

const schema = {
	name: "hooks",
	hooks: {
		before: {
			"get|list": before("get|list"),
			"*": ["beforeAll", "beforeAllAgain"],
			"cre*": before("cre*")
		},
		after: { "get|list": after("get|list"), "*": after("*"), "cre*": after("cre*") },
		error: { "get|list": error("get|list"), "*": error("*"), "cre*": error("cre*") }
	},
	actions: {
		get: { hooks: { before: ["own", "ownAgain"], after: "ownAfter", error: ["ownError", "ownErrorAgain"] }, handler },
		list: { handler },
		create: { handler },
		other: { handler },
		saved: {
			fallback: "instead",
			hooks: { error: "ownError" },
			handler
		}
	},
	methods: {
		beforeAll: before("*"),
		beforeAllAgain: before("* again"),
		own: before("own"),
		ownAgain: before("own again"),
		ownAfter: after("own"),
		ownError: error("own"),
		ownErrorAgain: error("own again"),
		instead(ctx, err) {
			step(ctx, "fallback");
			return { instead: err.message, type: err.type, data: err.data };
		}
	}
};

const places = {
	get: ["before *", "before get|list", "before own", "before own again", "action", "after own", "after get|list", "after *"],
	list: ["before * again", "before get|list", "action", "after get|list", "after *"],
	create: ["before cre*", "action", "after cre*"],
	other: ["before *", "action", "after *"],
	saved: ["action", "after *"]
};
const handlers = {
	get: ["error own", "error own again", "error get|list", "error *"],
	list: ["error get|list", "error *"],
	create: ["error cre*"],
	other: ["error *"],
	saved: ["error own", "error *"]
};

function* cases() {
	for (const action of Object.keys(places)) {
		yield [action, {}];
		for (const place of places[action]) {
			yield [action, { fail: [place] }];
			for (const recover of handlers[action]) yield [action, { fail: [place], recover: [recover] }];
		}
		for (const place of handlers[action]) yield [action, { fail: ["action", place] }];
		yield [action, { fail: ["action", handlers[action][0]], recover: [handlers[action].at(-1)] }];
	}
	yield ["saved", { fail: ["action", "fallback"] }];
}

async function main() {
	const broker = new ServiceBroker({ logger: false, nodeID: "node-1" });
	broker.createService(schema);
	await broker.start();
	const lines = [];
	for (const [action, params] of cases()) {
		const promise = broker.call(`hooks.${action}`, structuredClone(params));
		const outcome = await promise.then(
			result => ({ result }),
			({ name, message, code, type, data }) => ({ error: { name, message, code, type, data } })
		);
		lines.push("\t" + JSON.stringify({ action, params, ...outcome, trace: promise.ctx.meta.trace }));
	}
	process.stdout.write(`[\n${lines.join(",\n")}\n]\n`);
	await broker.stop();
}

main();
