// `Service`: a schema with its mixins, turned into methods, action handlers and event handlers.
//
// Unlike in Moleculer nothing is registered here and `created` does not run here: the node knows the service
// by its description (runtime/describe.js), and `created` has to wait until an instance serves
// (runtime/serve.js), because the constructor also runs for the description alone.
//
// moleculer: src/service.js

import { cloneDeep, forIn, isObject } from "lodash-es";

import { Errors } from "./errors.js";
import { applyMixins, mergeSchemas, rules } from "./merging.js";
import { wrapWithHooks } from "./hooks.js";
import { fullName } from "./names.js";
import { takesContext } from "./signature.js";

const { ServiceSchemaError, MoleculerError } = Errors;

const RESERVED = new Set(
	"name version settings metadata dependencies schema broker actions logger created started stopped _start _stop _init applyMixins".split(
		" "
	)
);

const isFunction = value => typeof value === "function";
const asArray = value => (value == null ? [] : Array.isArray(value) ? value : [value]);

export class Service {
	constructor(broker, schema) {
		if (!isObject(broker)) throw new ServiceSchemaError("Must set a ServiceBroker instance!");
		this.broker = broker;
		this.Promise = broker.Promise;
		if (schema) this.parseServiceSchema(schema);
	}

	parseServiceSchema(schema) {
		if (!isObject(schema)) {
			throw new ServiceSchemaError(
				"The service schema can't be null. Maybe is it not a service schema?"
			);
		}
		this.originalSchema = cloneDeep(schema);
		if (schema.mixins) schema = this.applyMixins(schema);
		for (const merged of asArray(schema.merged)) merged.call(this, schema);
		if (!schema.name) {
			throw new ServiceSchemaError(
				"Service name can't be empty! Maybe it is not a valid Service schema. Maybe is it not a service schema?",
				{ schema }
			);
		}
		this.name = schema.name;
		this.version = schema.version;
		// The operator's settings lie over those of the schema before anything can look at them.
		this.settings = this.broker._overlay(schema.settings || {});
		this.metadata = schema.metadata || {};
		this.schema = schema;
		this.fullName = Service.getVersionedFullName(
			this.name,
			this.settings.$noVersionPrefix === true ? undefined : this.version
		);
		this.logger = this.broker.getLogger(this.fullName, { svc: this.name, ver: this.version });
		this.actions = {};
		this.events = {};
		this._register(schema);
		this.broker._adopt(this);
	}

	_register(schema) {
		const specification = { actions: {}, events: {} };
		forIn(isObject(schema.methods) ? schema.methods : {}, (method, name) => this._createMethod(method, name));
		forIn(isObject(schema.actions) ? schema.actions : {}, (definition, name) => {
			if (definition === false) return;
			const action = this._createAction(definition, name);
			specification.actions[action.rawName] = action;
			this.actions[name] = (params, options) => this.broker._callOwn(action, params, options || {});
		});
		forIn(isObject(schema.events) ? schema.events : {}, (definition, name) => {
			const event = this._createEvent(definition, name);
			specification.events[event.name] = event;
			this.events[event.name] = (params, options) => this.broker._emitOwn(event, name, params, options || {});
		});
		this._specification = specification;
	}

	_createAction(definition, name) {
		const action = isFunction(definition) ? { handler: definition } : isObject(definition) && cloneDeep(definition);
		if (!action) {
			throw new ServiceSchemaError(
				`Invalid action definition in '${name}' action in '${this.fullName}' service!`
			);
		}
		if (!isFunction(action.handler)) {
			throw new ServiceSchemaError(
				`Missing action handler on '${name}' action in '${this.fullName}' service!`
			);
		}
		action.rawName = action.name || name;
		action.name =
			this.settings.$noServiceNamePrefix === true ? action.rawName : `${this.fullName}.${action.rawName}`;
		if (action.cache === undefined && this.settings.$cache !== undefined) action.cache = this.settings.$cache;
		action.service = this;
		const plain = action.handler.bind(this);
		action.handler = this.Promise.method(plain);
		action.hooked = wrapWithHooks(this, action, action.handler);
		// For the node's calls, whose result need not be a promise.
		action._run = action.hooked === action.handler ? plain : action.hooked;
		return action;
	}

	_createMethod(definition, name) {
		if (RESERVED.has(name) || name.startsWith("mergeSchema")) {
			throw new ServiceSchemaError(`Invalid method name '${name}' in '${this.name}' service!`);
		}
		const method = isFunction(definition) ? { handler: definition } : definition;
		if (!isObject(method)) {
			throw new ServiceSchemaError(
				`Invalid method definition in '${name}' method in '${this.fullName}' service!`
			);
		}
		if (!isFunction(method.handler)) {
			throw new ServiceSchemaError(
				`Missing method handler on '${name}' method in '${this.fullName}' service!`
			);
		}
		this[name] = method.handler.bind(this);
	}

	_createEvent(definition, name) {
		const event =
			isFunction(definition) || Array.isArray(definition)
				? { handler: definition }
				: isObject(definition) && cloneDeep(definition);
		if (!event) {
			throw new ServiceSchemaError(
				`Invalid event definition in '${name}' event in '${this.fullName}' service!`
			);
		}
		if (!isFunction(event.handler) && !Array.isArray(event.handler)) {
			throw new ServiceSchemaError(
				`Missing event handler on '${name}' event in '${this.fullName}' service!`
			);
		}
		const handlers = asArray(event.handler).map(handler => {
			const modern = takesContext(handler, event, this.broker._moleculer);
			return async ctx =>
				modern
					? handler.call(this, ctx)
					: handler.call(this, ctx.params, ctx.nodeID, ctx.eventName, ctx);
		});
		event.name = event.name || name;
		event.service = this;
		event.handler = ctx =>
			handlers.length === 1 ? handlers[0](ctx) : this.Promise.all(handlers.map(handler => handler(ctx)));
		return event;
	}

	emitLocalEventHandler(eventName, params, options) {
		if (!this.events[eventName]) {
			const text = `No '${eventName}' registered local event handler`;
			return this.Promise.reject(new MoleculerError(text, 500, "NOT_FOUND_EVENT", { eventName }));
		}
		return this.events[eventName](params, options);
	}

	waitForServices(names, timeout, interval) {
		return this.broker.waitForServices(names, timeout, interval, this.logger);
	}

	applyMixins(schema) {
		return applyMixins(this, schema);
	}

	mergeSchemas(mixin, schema) {
		return mergeSchemas(this, mixin, schema);
	}

	_getPublicSettings(settings) {
		const secure = settings && settings.$secureSettings;
		if (!Array.isArray(secure)) return settings;
		const hidden = new Set([...secure, "$secureSettings"]);
		return Object.fromEntries(Object.entries(settings).filter(([key]) => !hidden.has(key)));
	}

	static getVersionedFullName(name, version) {
		return fullName({ name, version });
	}
}

for (const [name, rule] of Object.entries(rules)) {
	Object.defineProperty(Service.prototype, name, { value: rule, configurable: true, writable: true });
}
Object.defineProperty(Service.prototype, "mergeSchemaDependencies", {
	value: rules.mergeSchemaUniqArray,
	configurable: true,
	writable: true
});
