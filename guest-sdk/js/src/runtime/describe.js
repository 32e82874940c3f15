// The description of a service for the node: its schema as JSON, without what only code can do.
//
// Functions do not travel. Where Moleculer would ask one (a cache key, a check of a policy), the description
// leaves out what cannot be had without it, never silently: `warnings` says what and what to do instead.

import { needsCode } from "../moleculer/validator.js";

export const SDK = "js/0.1.0";

/** Keys of an action that are the guest's own business, or that Moleculer adds. */
const NOT_TOLD = new Set(["handler", "hooked", "hooks", "service", "rawName", "name", "fallback", "params", "cache", "_check", "_inGuest", "_run"]);

/** `{schema, warnings}` of a service. */
export function describe(service) {
	const { schema, _specification: specification } = service;
	const warnings = [];
	const described = {
		name: service.name,
		version: service.version,
		settings: plain(schema.settings || {}, "settings", []),
		metadata: plain(service.metadata, "metadata", warnings),
		dependencies: schema.dependencies,
		actions: each(specification.actions, (action, name) => actionOf(action, `actions.${name}`, warnings)),
		events: each(specification.events, (event, name) => eventOf(event, `events.${name}`, warnings)),
		isomer: { sdk: SDK, mode: "shared", ...schema.isomer, lifecycle: lifecycle(schema) }
	};
	return { schema: described, warnings };
}

const each = (object, make) => Object.fromEntries(Object.entries(object).map(([key, value]) => [key, make(value, key)]));

/** `created` runs with `started`, in the first breath of an instance. */
function lifecycle({ created, started, stopped }) {
	const names = [];
	if (created || started) names.push("started");
	if (stopped) names.push("stopped");
	return names;
}

function actionOf(action, path, warnings) {
	const described = {};
	for (const [key, value] of Object.entries(action)) {
		if (!NOT_TOLD.has(key)) described[key] = plain(value, `${path}.${key}`, warnings);
	}
	if (action.params) paramsOf(action, described, path, warnings);
	if (action.cache !== undefined) described.cache = cacheOf(action.cache, path, warnings);
	if (action.fallback) described.fallback = typeof action.fallback === "string" ? action.fallback : "fallback";
	return described;
}

/** Rules with functions stay here, where they are checked before the handler (serve.js). */
function paramsOf(definition, described, path, warnings) {
	if (needsCode(definition.params)) {
		definition._inGuest = true;
		warnings.push(`${path}.params: checked in the service, because some rules are functions; other nodes do not see them`);
	} else {
		described.params = rules(definition.params);
	}
}

/** A wrong key would hand the result of one caller to another, so there is no cache without its keygen. */
function cacheOf(cache, path, warnings) {
	const codes = ["keygen", "enabled"].filter(key => cache && typeof cache[key] === "function");
	if (codes.length === 0) return plain(cache, `${path}.cache`, warnings);
	warnings.push(`${path}.cache: off, because ${codes.join(" and ")} is a function; name the keys in 'keys' instead`);
	return false;
}

function eventOf(event, path, warnings) {
	const described = {};
	for (const [key, value] of Object.entries(event)) {
		if (["handler", "service", "name", "params"].includes(key)) continue;
		described[key] = plain(value, `${path}.${key}`, warnings);
	}
	if (event.params) paramsOf(event, described, path, warnings);
	return described;
}

/** A copy without functions; each one that was left out is told. */
function plain(value, path, warnings) {
	if (typeof value === "function") {
		warnings.push(`${path}: left out, because it is a function`);
		return undefined;
	}
	if (Array.isArray(value)) return value.map((item, index) => plain(item, `${path}[${index}]`, warnings));
	if (value === null || typeof value !== "object" || typeof value.toJSON === "function") return value;
	if (value instanceof RegExp) return String(value);
	return each(value, (item, key) => plain(item, `${path}.${key}`, warnings));
}

/** Rules for params: a pattern is told with its flags. */
function rules(value) {
	if (Array.isArray(value)) return value.map(rules);
	if (value === null || typeof value !== "object") return value;
	const { pattern, ...rest } = value;
	const described = each(rest, rules);
	if (pattern instanceof RegExp) {
		described.pattern = pattern.source;
		if (pattern.flags) described.patternFlags = pattern.flags;
	} else if (pattern !== undefined) {
		described.pattern = rules(pattern);
	}
	return described;
}
