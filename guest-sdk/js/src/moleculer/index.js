// What `require("moleculer")` is in a service: the parts that a service uses. Those that belong to a broker's
// configuration are named, so that a schema may mention them, and say what to do when they are used.

import * as inspector from "../runtime/inspect.js";
import { ServiceBroker } from "./broker.js";
import { Context } from "./context.js";
import { Errors } from "./errors.js";
import { match } from "./match.js";
import { Service } from "./service.js";

/** A class that cannot be made here. */
function foreign(kind, name) {
	return class {
		static get name() {
			return name;
		}
		constructor() {
			const text = `${kind}.${name} belongs to the node: set it in the configuration of Isomer, not in a service.`;
			throw new Errors.BrokerOptionsError(text);
		}
	};
}

const all = (kind, names) => Object.fromEntries(names.split(" ").map(name => [name, foreign(kind, name)]));

const Cachers = all("Cachers", "Base Memory MemoryLRU Redis");
const Loggers = all("Loggers", "Base Console File Pino Winston Bunyan Log4js Debug Formatted LEVELS");
const Transporters = all("Transporters", "Base Fake NATS MQTT Redis AMQP AMQP10 Kafka TCP");
const Serializers = all("Serializers", "Base JSON JSONExt MsgPack Notepack CBOR");
const Strategies = all("Strategies", "Base RoundRobin Random CpuUsage Latency Shard");
const Validators = all("Validators", "Base Fastest");
const TracerExporters = all("TracerExporters", "Base Console Datadog Event Jaeger Zipkin NewRelic");
const MetricReporters = all("MetricReporters", "Base Console CSV Event Datadog Prometheus StatsD");
const Discoverers = all("Discoverers", "Base Local Etcd3 Redis");
const MetricTypes = all("MetricTypes", "Base Counter Gauge Histogram Info");
const Middlewares = {};
const METRIC = { TYPE_COUNTER: "counter", TYPE_GAUGE: "gauge", TYPE_HISTOGRAM: "histogram", TYPE_INFO: "info" };

const Utils = {
	match,
	isFunction: value => typeof value === "function",
	isString: value => typeof value === "string" || value instanceof String,
	isObject: value => value !== null && (typeof value === "object" || typeof value === "function"),
	isPlainObject: value => value !== null && typeof value === "object" && Object.getPrototypeOf(value) === Object.prototype,
	isDate: value => value instanceof Date && !Number.isNaN(value.getTime()),
	isPromise: value => value != null && typeof value.then === "function",
	flatten: list => list.flat(),
	uniq: list => [...new Set(list)],
	safetyObject: value => JSON.parse(JSON.stringify(value)),
	inspect: inspector.inspect
};

const MOLECULER_VERSION = "0.15.1";
const PROTOCOL_VERSION = "5";
const [CIRCUIT_CLOSE, CIRCUIT_HALF_OPEN] = ["close", "half_open"];
const [CIRCUIT_HALF_OPEN_WAIT, CIRCUIT_OPEN] = ["half_open_wait", "open"];

export {
	Service, ServiceBroker, Context, Errors, Utils, Cachers, Loggers, Transporters, Serializers, Strategies,
	Validators, TracerExporters, MetricReporters, MetricTypes, Discoverers, Middlewares, METRIC, MOLECULER_VERSION,
	PROTOCOL_VERSION, CIRCUIT_CLOSE, CIRCUIT_HALF_OPEN, CIRCUIT_HALF_OPEN_WAIT, CIRCUIT_OPEN
};

export default {
	Service, ServiceBroker, Context, Errors, Utils, Cachers, Loggers, Transporters, Serializers, Strategies,
	Validators, TracerExporters, MetricReporters, MetricTypes, Discoverers, Middlewares, METRIC, MOLECULER_VERSION,
	PROTOCOL_VERSION, CIRCUIT_CLOSE, CIRCUIT_HALF_OPEN, CIRCUIT_HALF_OPEN_WAIT, CIRCUIT_OPEN
};
