// The service under Moleculer itself: it is the same file.

import assert from "node:assert";
import { test } from "node:test";

import { ServiceBroker } from "moleculer";

import schema from "../{{name}}.service.js";

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
