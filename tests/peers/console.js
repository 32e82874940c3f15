"use strict";
// The console of Moleculer (moleculer-repl), unmodified, on a node of a mesh; its commands come by stdin.
// Usage: node console.js 0.15|0.14 OPTIONS SERVICE…   where OPTIONS is the JSON of the broker's options
//
// It begins when the named services are there; ends with its stdin.

require("./generation")(process.argv[2]);
const { ServiceBroker } = require("moleculer");

const broker = new ServiceBroker({ logger: false, ...JSON.parse(process.argv[3]) });

broker
	.start()
	.then(() => broker.waitForServices(process.argv.slice(4)))
	.then(() => {
		console.log("the console begins");
		broker.repl();
	})
	.catch(err => {
		console.error(err);
		process.exit(1);
	});
