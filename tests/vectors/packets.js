// Records what real Moleculer nodes put on the wire, as `packets.json` beside this file:
//   npm install moleculer@0.15.1 && node packets.js
// Two brokers talk over the in-process transporter; a middleware sees every packet as bytes. IDs count up,
// so that two runs differ only in times and addresses.
"use strict";

const fs = require("fs");
const path = require("path");
const { ServiceBroker, Errors } = require("moleculer");

// Stack traces tell where the recording was made and nothing about the protocol.
Error.stackTraceLimit = 0;

const packets = [];
const recorder = {
	transporterSend: next => (topic, data, meta) => {
		packets.push({ topic, text: data.toString() });
		return next(topic, data, meta);
	}
};

let uid = 0;
const options = nodeID => ({
	nodeID,
	namespace: "vec",
	logger: false,
	transporter: "Fake",
	uidGenerator: () => `id-${++uid}`,
	metadata: { region: "eu" },
	transit: { serviceChangedDebounceTime: 50 },
	middlewares: [recorder]
});

const callee = new ServiceBroker(options("node-b"));
callee.createService({
	name: "posts",
	version: 2,
	settings: { limit: 10, $secureSettings: ["key"], key: "hidden" },
	metadata: { scalable: true },
	actions: {
		get: {
			params: { id: "number|positive" },
			cache: { keys: ["id"] },
			rest: "GET /:id",
			timeout: 1500,
			custom: { deep: [1, 2.5, null] },
			handler(ctx) {
				ctx.meta.added = 1;
				return { id: ctx.params.id, level: ctx.level, caller: ctx.caller };
			}
		},
		nothing() {},
		nul: () => null,
		echo: ctx => ctx.params,
		buffer: () => Buffer.from("hi"),
		fail(ctx) {
			throw new Errors.MoleculerClientError("nope é \"q\"", 409, "CONFLICT", { x: 1 });
		},
		boom() {
			throw new TypeError("plain");
		},
		nested(ctx) {
			ctx.meta.seen = true;
			return ctx.call("v2.posts.get", { id: 3 }, { timeout: 700 });
		}
	},
	events: {
		"user.*"() {},
		"order.created": { group: "grp", handler() {} }
	}
});

const caller = new ServiceBroker(options("node-a"));
caller.createService({
	name: "client",
	actions: { run: ctx => ctx.call("v2.posts.nested", { deep: { a: [1, "é", null] } }) }
});

async function main() {
	await Promise.all([callee.start(), caller.start()]);
	await caller.waitForServices("v2.posts");
	const quiet = promise => promise.catch(() => null);
	await caller.call("v2.posts.get", { id: 1 }, { meta: { u: 1 }, headers: { h: "1" }, timeout: 1000 });
	await caller.call("v2.posts.nothing");
	await caller.call("v2.posts.nul", null);
	await caller.call("v2.posts.echo", { f: 0.1, big: 1e21, s: "a\u2028\"\\\n" });
	await caller.call("v2.posts.buffer");
	await quiet(caller.call("v2.posts.fail"));
	await quiet(caller.call("v2.posts.boom"));
	await quiet(caller.call("v2.posts.get", { id: -1 }));
	await caller.call("client.run", {}, { timeout: 1234.5 });
	await quiet(caller.call("v2.posts.gone", {}, { nodeID: "node-b" }));
	await caller.emit("user.created", { n: 1 });
	await caller.emit("order.created", null, { headers: { h: 1 } });
	await caller.broadcast("user.removed");
	await caller.ping("node-b");
	await caller.transit.sendHeartbeat({ cpu: 17 });
	await caller.transit.sendHeartbeat({ cpu: null });
	await caller.stop();
	await callee.stop();
	const file = path.join(__dirname, "packets.json");
	fs.writeFileSync(file, JSON.stringify(packets, null, "\t") + "\n");
	console.log(`${packets.length} packets`);
}

main();
