// From what a file exports to a service: an object, a class that extends `Service`, or a function that makes
// one of them of the broker, as Moleculer's `loadService` takes them.
//
// moleculer: src/service-broker.js loadService, src/runner.js

import { Errors } from "../moleculer/errors.js";
import { Service } from "../moleculer/service.js";

const { ServiceSchemaError } = Errors;

/** The service that a module is, not yet created. */
export function serviceOf(exported, broker) {
	let schema = defaultOf(exported);
	if (isServiceClass(schema)) return named(new schema(broker));
	if (typeof schema === "function") schema = schema(broker);
	if (schema instanceof Service) return named(schema);
	if (isServiceClass(schema)) return named(new schema(broker));
	if (Array.isArray(schema)) {
		throw new ServiceSchemaError("The file exports several services: put each into a file of its own.");
	}
	if (schema === null || typeof schema !== "object" || Object.keys(schema).length === 0) {
		throw new ServiceSchemaError(
			"The file exports no service: it needs `module.exports = { name: … }` or `export default { name: … }`."
		);
	}
	if (typeof schema.then === "function") {
		throw new ServiceSchemaError("The file exports a promise: a schema has to be there at once.");
	}
	return new Service(broker, schema);
}

function defaultOf(exported) {
	if (exported && typeof exported === "object" && "default" in exported) {
		const inner = exported.default;
		// A CommonJS module that an ES module passed on.
		return inner && inner.__esModule && "default" in inner ? inner.default : inner;
	}
	return exported;
}

const isServiceClass = value => typeof value === "function" && value.prototype instanceof Service;

function named(service) {
	if (service.schema) return service;
	throw new ServiceSchemaError("The service class does not call `this.parseServiceSchema({ … })` in its constructor.");
}
