"use strict";
// The API gateway of Moleculer (moleculer-web), unmodified, as a node before a mesh.
// Usage: node gateway.js 0.15|0.14 OPTIONS   where OPTIONS is the JSON of the broker's options
//
// Writes `listening on PORT`; ends with its stdin.

require("./generation")(process.argv[2]);
const { ServiceBroker } = require("moleculer");
const ApiGateway = require("moleculer-web");

const broker = new ServiceBroker({ logger: false, ...JSON.parse(process.argv[3]) });

const gateway = broker.createService({
	name: "api",
	mixins: [ApiGateway],
	settings: {
		ip: "127.0.0.1",
		port: 0,
		routes: [
			{
				path: "/",
				autoAliases: true,
				whitelist: ["**"],
				bodyParsers: { json: true },
				aliases: { "PUT raw": "stream:files.checksum", "PUT upper": "stream:files.upper" }
			}
		]
	}
});

process.stdin.resume().on("close", () => process.exit(0));
broker
	.start()
	.then(() => console.log(`listening on ${gateway.server.address().port}`))
	.catch(err => {
		console.error(err);
		process.exit(1);
	});
