"use strict";

// The service under Moleculer itself: it is the same file.

const { test } = require("node:test");
const assert = require("node:assert");
const { ServiceBroker } = require("moleculer");

const schema = require("../{{name}}.service.js");

test("hello greets by name", async () => {
	const broker = new ServiceBroker({ logger: false });
	broker.createService(schema);
	await broker.start();
	try {
		assert.strictEqual(await broker.call("{{name}}.hello", { name: "Ada" }), "Hello, Ada!");
		await assert.rejects(broker.call("{{name}}.hello", { name: "A" }), { code: 422 });
	} finally {
		await broker.stop();
	}
});
