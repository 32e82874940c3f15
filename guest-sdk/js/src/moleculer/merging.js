// How a service schema is merged with its mixins.
//
// The rules are those of Moleculer: settings and metadata deep, actions deep with their hooks in a row,
// methods replaced, events and lifecycle handlers one after the other, before-hooks from the mixin to the
// service and the other hooks the other way round. A service class may override each rule by its method of
// the name `mergeSchema…`, so the rules are methods of `Service` (see service.js) that call these.
//
// moleculer: src/service.js applyMixins, mergeSchemas

import { cloneDeep, compact, defaultsDeep, isEqual, uniqWith } from "lodash-es";

const LIFECYCLE = ["merged", "created", "started", "stopped"];

const asHandler = value => (typeof value === "function" ? { handler: value } : value);
const asArray = value => (Array.isArray(value) ? value : [value]);
const row = (...lists) => compact(lists.flat());

/** The rules by the name of the method that Moleculer has for each. `src` wins over `target`. */
export const rules = {
	mergeSchemaSettings(src, target) {
		const secure = [...((src && src.$secureSettings) || []), ...((target && target.$secureSettings) || [])];
		if (secure.length > 0) {
			target = target || {};
			target.$secureSettings = [...new Set(secure)];
		}
		return defaultsDeep(src, target);
	},

	mergeSchemaMetadata: (src, target) => defaultsDeep(src, target),

	mergeSchemaUniqArray: (src, target) => uniqWith(row(src, target), isEqual),

	mergeSchemaHooks(src, target) {
		for (const [kind, hooks] of Object.entries(src)) {
			const merged = target[kind] == null ? (target[kind] = {}) : target[kind];
			for (const name of Object.keys(hooks)) merged[name] = hookRow(kind, hooks[name], merged[name]);
		}
		return target;
	},

	mergeSchemaActions(src, target) {
		for (const name of Object.keys(src)) {
			if (src[name] === false) {
				delete target[name];
				continue;
			}
			const [own, mixed] = [asHandler(src[name]), asHandler(target[name])];
			if (own && own.hooks && mixed && mixed.hooks) {
				for (const kind of Object.keys(own.hooks)) {
					own.hooks[kind] = hookRow(kind, own.hooks[kind], mixed.hooks[kind]);
				}
			}
			target[name] = defaultsDeep(own, mixed);
		}
		return target;
	},

	mergeSchemaMethods: (src, target) => Object.assign(target || {}, src || {}),

	mergeSchemaEvents(src, target) {
		for (const name of Object.keys(src)) {
			const [own, mixed] = [asHandler(src[name]), asHandler(target[name])];
			const handlers = row(mixed ? mixed.handler : null, own ? own.handler : null);
			target[name] = defaultsDeep(own, mixed);
			target[name].handler = handlers.length === 1 ? handlers[0] : handlers;
		}
		return target;
	},

	mergeSchemaLifecycleHandlers: (src, target) => row(target, src),

	mergeSchemaUnknown: (src, target) => (src !== undefined ? src : target)
};

function hookRow(kind, own, mixed) {
	return kind === "before" ? row(asArray(mixed), asArray(own)) : row(asArray(own), asArray(mixed));
}

/** `schema` with all its mixins, the first of them strongest, and theirs. */
export function applyMixins(service, schema) {
	if (!schema.mixins) return schema;
	const mixins = asArray(schema.mixins);
	if (mixins.length === 0) return schema;
	let mixed = null;
	for (const mixin of [...mixins].reverse()) {
		const whole = mixin.mixins ? service.applyMixins(mixin) : mixin;
		mixed = mixed ? service.mergeSchemas(mixed, whole) : whole;
	}
	return service.mergeSchemas(mixed, schema);
}

/** Merges a schema over that of a mixin; neither is changed. */
export function mergeSchemas(service, mixin, schema) {
	const merged = cloneDeep(mixin);
	if (!schema) return merged;
	const own = cloneDeep(schema);
	if (!mixin) return own;
	for (const key of Object.keys(own)) merged[key] = mergeKey(service, key, own[key], merged[key]);
	return merged;
}

function mergeKey(service, key, own, mixed) {
	if (key === "name" || key === "version") {
		return own !== undefined ? own : service.mergeSchemaUnknown(own, mixed);
	}
	if (key === "hooks" || key === "actions" || key === "events") mixed = mixed || {};
	if (LIFECYCLE.includes(key)) return service.mergeSchemaLifecycleHandlers(own, mixed);
	if (key === "mixins" || key === "dependencies") return service.mergeSchemaUniqArray(own, mixed);
	const rule = `mergeSchema${key[0].toUpperCase()}${key.slice(1)}`;
	return typeof service[rule] === "function"
		? service[rule](own, mixed)
		: service.mergeSchemaUnknown(own, mixed);
}
