"use strict";
// Records in which order the real Moleculer runs the hooks of two middlewares, `a` and then `b`.
// Usage: node tests/vectors/middlewares.js > tests/vectors/middlewares.json
// One line per step of the scenario: `middleware:hook`, in the order in which they ran.

const path = require("node:path");
const { ServiceBroker } = require(path.join(__dirname, "../peers/node_modules/moleculer-0.15"));

let log = [];
const own = text => String(text).startsWith("$");

const spy = name => {
	const note = hook => log.push(`${name}:${hook}`);
	const plain = hook => next => (...args) => (note(hook), next(...args));
	const event = hook => next => (eventName, ...args) => {
		if (!own(eventName)) note(hook);
		return next(eventName, ...args);
	};
	const step = hook => async () => note(hook);
	return {
		localAction: plain("localAction"),
		localEvent: plain("localEvent"),
		call: plain("call"),
		mcall: plain("mcall"),
		emit: event("emit"),
		broadcast: event("broadcast"),
		broadcastLocal: event("broadcastLocal"),
		createService: plain("createService"),
		registerLocalService: plain("registerLocalService"),
		destroyService: plain("destroyService"),
		serviceCreating: () => note("serviceCreating"),
		serviceCreated: () => note("serviceCreated"),
		serviceStarting: step("serviceStarting"),
		serviceStarted: step("serviceStarted"),
		serviceStopping: step("serviceStopping"),
		serviceStopped: step("serviceStopped"),
		created: () => note("created"),
		starting: step("starting"),
		started: step("started"),
		stopping: step("stopping"),
		stopped: step("stopped")
	};
};

const service = name => ({ name, actions: { echo: ctx => ctx.params }, events: { "it.happened"() {} } });
const settle = () => new Promise(resolve => setTimeout(resolve, 100));

const main = async () => {
	const steps = [];
	const record = async (step, work) => {
		log = [];
		await work();
		await settle();
		steps.push(`\t${JSON.stringify(step)}: ${JSON.stringify(log)}`);
	};
	let broker;
	await record("build", () => {
		broker = new ServiceBroker({
			logger: false,
			internalServices: false,
			middlewares: [spy("a"), spy("b")]
		});
	});
	await record("start", () => broker.start());
	await record("create", () => broker.createService(service("one")));
	await record("call", () => broker.call("one.echo", {}));
	await record("mcall", () => broker.mcall([{ action: "one.echo", params: {} }]));
	await record("emit", () => broker.emit("it.happened", {}));
	await record("broadcast", () => broker.broadcast("it.happened", {}));
	await record("broadcastLocal", () => broker.broadcastLocal("it.happened", {}));
	await record("destroy", () => broker.destroyService("one"));
	broker.createService(service("two"));
	await settle();
	await record("stop", () => broker.stop());
	process.stdout.write(`{\n${steps.join(",\n")}\n}\n`);
};

main();
