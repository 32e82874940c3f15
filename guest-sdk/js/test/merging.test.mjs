// Merging, construction, hooks and errors, compared with Moleculer itself: the same schema is given to both.

import assert from "node:assert";
import { createRequire } from "node:module";
import { test } from "node:test";

import { cloneDeep } from "lodash-es";

import { serve } from "./mock-host.mjs";

const require = createRequire(new URL("../../../tests/peers/package.json", import.meta.url));
const moleculers = ["0.14", "0.15"].map(version => ({ version, moleculer: require(`moleculer-${version}`) }));

/** What happened, in order, by functions that leave a trace. */
const trail = [];
const step = (name, value) =>
	function () {
		trail.push(name);
		return value;
	};

const base = {
	settings: { a: 1, deep: { x: 1, list: [1, 2, 3] }, $secureSettings: ["a"] },
	metadata: { scalable: true, m: { one: 1 } },
	dependencies: ["users", { name: "mail", version: 2 }],
	hooks: {
		before: { "*": step("base before *"), "g*": [step("base before g*")] },
		after: { get: step("base after get", "base after") },
		error: { "*": [step("base error *")] }
	},
	actions: {
		get: { cache: { keys: ["id"], ttl: 5 }, params: { id: "number" }, hooks: { before: step("base own before") }, handler: step("base get") },
		gone: step("gone"),
		list: step("list", ["base"])
	},
	events: { "user.*": step("base user.*"), "order.new": { group: "orders", handler: step("base order") } },
	methods: { one: () => "base one", two: () => "base two" },
	merged: step("base merged"),
	created: step("base created"),
	started: step("base started"),
	stopped: step("base stopped"),
	custom: { kept: true, over: "base" }
};

const second = {
	mixins: [base],
	settings: { deep: { x: 2, list: [9] }, b: 2, $secureSettings: ["b"] },
	actions: { list: { params: { page: "number|optional" }, handler: step("second list", ["second"]) }, more: step("more") },
	events: { "user.*": { group: "second", handler: step("second user.*") } },
	merged: [step("second merged 1"), step("second merged 2")],
	created: step("second created")
};

const schema = {
	name: "posts",
	version: 2,
	mixins: [second, { settings: { late: true }, methods: { two: () => "late two", three: () => 3 } }],
	settings: { deep: { y: 3 } },
	metadata: { m: { two: 2 } },
	dependencies: ["users", "$node"],
	hooks: { before: { "get|list": "check", "*": [step("own before *")] }, after: { "*": step("own after *", "own after") } },
	actions: {
		gone: false,
		get: { rest: "GET /:id", timeout: 500, hooks: { before: [step("own own before")], after: step("own own after", "x") }, handler: step("own get", "got") },
		bad: { visibility: "public", handler() { throw new TypeError("bad"); } }
	},
	events: { "user.*": step("own user.*") },
	methods: { one: () => "own one", check: step("check") },
	merged: step("own merged"),
	created: step("own created"),
	started: step("own started"),
	stopped: step("own stopped"),
	custom: { over: "own" }
};

/** The same service in Moleculer. */
async function inMoleculer({ moleculer, version }, definition, use) {
	const broker = new moleculer.ServiceBroker({ logger: false, nodeID: `peer-${version}` });
	const service = broker.createService(definition);
	// Nobody is there to be waited for.
	const { dependencies } = service.schema;
	service.schema.dependencies = undefined;
	await broker.start();
	try {
		return await use(broker, service, dependencies);
	} finally {
		await broker.stop();
	}
}

const told = info => JSON.parse(JSON.stringify(info));

for (const peer of moleculers) {
	test(`a service with mixins says the same of itself as in Moleculer ${peer.version}`, async () => {
		const ours = serve(cloneDeep(schema));
		const described = ours.schema();
		await inMoleculer(peer, cloneDeep(schema), (broker, service, dependencies) => {
			assert.deepStrictEqual(described.dependencies, dependencies);
			const info = told(broker.getLocalNodeInfo().services.find(({ name }) => name === "posts"));
			assert.deepStrictEqual(Object.keys(described.actions).map(name => `v2.posts.${name}`).sort(), Object.keys(info.actions).sort());
			for (const [name, action] of Object.entries(described.actions)) {
				const { name: _, rawName, hooks, ...fields } = info.actions[`v2.posts.${name}`];
				assert.deepStrictEqual(action, fields, name);
			}
			assert.deepStrictEqual(Object.keys(described.events), Object.keys(info.events));
			for (const [name, event] of Object.entries(described.events)) {
				const { name: _, ...fields } = info.events[name];
				assert.deepStrictEqual(event, fields, name);
			}
			const { $secureSettings, a, b, ...open } = described.settings;
			assert.deepStrictEqual(open, info.settings);
			assert.deepStrictEqual([...$secureSettings].sort(), ["a", "b"]);
			assert.deepStrictEqual(described.metadata, info.metadata);
			assert.deepStrictEqual(service.schema.custom, { over: "own" });
		});
	});

	test(`lifecycle, hooks and events of mixins run in the order of Moleculer ${peer.version}`, async () => {
		const theirs = [];
		trail.length = 0;
		await inMoleculer(peer, cloneDeep(schema), async (broker, service) => {
			theirs.push(["start", ...trail.splice(0)]);
			for (const action of ["get", "list", "bad", "more"]) {
				const result = await broker.call(`v2.posts.${action}`, { id: 1 }).catch(error => error.message);
				theirs.push([action, result, ...trail.splice(0)]);
			}
			await service.emitLocalEventHandler("user.*", {});
			theirs.push(["user.*", ...trail.splice(0)]);
			theirs.push([service.one(), service.two(), service.three()]);
		});
		const stopped = trail.splice(0);

		const ours = [];
		const service = serve(cloneDeep(schema));
		await service.handler.started(service.host.context());
		ours.push(["start", ...trail.splice(0)]);
		for (const action of ["get", "list", "bad", "more"]) {
			const { value, failure } = await service.call(action, { id: 1 });
			ours.push([action, failure ? failure.message : value, ...trail.splice(0)]);
		}
		await service.event("user.*", {}, { name: "user.x" });
		ours.push(["user.*", ...trail.splice(0)]);
		const { one, two, three } = service.instance.service;
		ours.push([one(), two(), three()]);
		assert.deepStrictEqual(ours, theirs);
		await service.handler.stopped(service.host.context());
		assert.deepStrictEqual([...trail].sort(), stopped.sort());
	});
}

test("Moleculer's errors are made as there and come back as their class", async () => {
	const { Errors } = await import("../src/moleculer/errors.js");
	const { failureFromError, errorFromFailure } = await import("../src/runtime/failure.js");
	const theirs = moleculers[1].moleculer.Errors;
	const data = { action: "a.b", nodeID: "n", level: 3, service: "s", version: "v2" };
	const made = {
		MoleculerError: ["m", 501, "T", { a: 1 }],
		MoleculerRetryableError: ["m"],
		MoleculerServerError: ["m", 555],
		MoleculerClientError: ["m", undefined, "T"],
		ValidationError: ["m", null, [{ field: "a" }]],
		ServiceNotFoundError: [data],
		ServiceNotAvailableError: [{ action: "a.b" }],
		RequestTimeoutError: [data],
		RequestSkippedError: [data],
		RequestRejectedError: [data],
		QueueIsFullError: [data],
		MaxCallLevelError: [data],
		ServiceSchemaError: ["m", data],
		BrokerOptionsError: ["m", data],
		GracefulStopTimeoutError: [{ service: { name: "s", version: 2 } }],
		ProtocolVersionMismatchError: [data],
		InvalidPacketDataError: [data],
		BrokerDisconnectedError: []
	};
	for (const [name, args] of Object.entries(made)) {
		const [mine, other] = [new Errors[name](...args), new theirs[name](...args)];
		const fields = error => ({ ...error, name: error.name, message: error.message });
		assert.deepStrictEqual(fields(mine), fields(other), name);
		const back = errorFromFailure(failureFromError(mine));
		assert.ok(back instanceof Errors[name], name);
		assert.deepStrictEqual({ ...told(fields(back)), data: undefined }, { ...told(fields(mine)), data: undefined }, name);
	}
});
