"use strict";
// A Moleculer JS node that echoes. Usage: node callee.js NATS_URL

const { ServiceBroker } = require("moleculer-0.15");

const broker = new ServiceBroker({ nodeID: "js-callee", transporter: process.argv[2], logger: false });
broker.createService({ name: "bench", actions: { echo: ctx => ctx.params } });
broker.start().then(() => process.stdout.write("ready\n"));
process.stdin.on("close", () => process.exit(0)).resume();
