"use strict";
// Records every error class of the real Moleculer as it goes over the wire.
// Usage: node tests/vectors/errors.js > tests/vectors/errors.json

const path = require("node:path");
const { Errors } = require(path.join(__dirname, "../peers/node_modules/moleculer-0.15"));

const regenerator = new Errors.Regenerator();
regenerator.init({ nodeID: "node-1" });

const call = { action: "posts.get", nodeID: "node-2" };
const data = { list: [1, null], deep: { text: "ü" } };
const general = ["went wrong", 418, "TEAPOT", data];
const cases = [
	["MoleculerError", general],
	["MoleculerError", ["went wrong"]],
	["MoleculerRetryableError", general],
	["MoleculerServerError", general],
	["MoleculerClientError", general],
	["ServiceNotFoundError", [call]],
	["ServiceNotFoundError", [{ action: "posts.get" }]],
	["ServiceNotAvailableError", [call]],
	["ServiceNotAvailableError", [{ action: "posts.get" }]],
	["RequestTimeoutError", [call]],
	["RequestSkippedError", [call]],
	["RequestRejectedError", [call]],
	["QueueIsFullError", [{ ...call, size: 100, limit: 100 }]],
	["ValidationError", ["Parameters validation error!", null, [{ type: "required", field: "id" }]]],
	["MaxCallLevelError", [{ nodeID: "node-2", level: 10 }]],
	["ServiceSchemaError", ["the schema is wrong", { service: "posts" }]],
	["BrokerOptionsError", ["the options are wrong", { option: "nodeID" }]],
	["GracefulStopTimeoutError", [{ service: { name: "posts", version: 2 } }]],
	["GracefulStopTimeoutError", []],
	["ProtocolVersionMismatchError", [{ nodeID: "node-2", actual: "5", received: "4" }]],
	["InvalidPacketDataError", [{ packet: "REQ" }]],
	["BrokerDisconnectedError", []]
];

const lines = cases.map(([name, args]) => {
	const error = new Errors[name](...args);
	const wire = { ...regenerator.extractPlainError(error), stack: undefined };
	return "\t" + JSON.stringify({ name, args, wire });
});
process.stdout.write(`[\n${lines.join(",\n")}\n]\n`);
