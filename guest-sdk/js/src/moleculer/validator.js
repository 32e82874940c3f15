// Rules for params that the node cannot check: those with functions, which do not travel, and those of
// `this.actions.x()`, which does not go through the node.
//
// It is fastest-validator, as in Moleculer; the compiled check is kept with the action. All other params were
// checked by the node before they got here.
//
// moleculer: src/validators/fastest.js, src/middlewares/validator.js

import { Errors } from "./errors.js";

let validator = null;

/** Tells which implementation to use; the build gives it, so that it is loaded only when it is needed. */
let load = () => {
	throw new Errors.MoleculerError("There is no validator in this build.", 500, "NO_VALIDATOR");
};

export function setValidator(loader) {
	load = loader;
}

function made() {
	if (!validator) {
		const Validator = load();
		validator = new Validator();
	}
	return validator;
}

/** What a service finds as `broker.validator`: mixins check their own entities with it. */
export const brokerValidator = {
	get validator() {
		return made();
	},
	compile(rules) {
		return made().compile(cloneRules(rules));
	},
	validate(params, rules) {
		const result = made().validate(params, cloneRules(rules));
		if (result !== true) throw new Errors.ValidationError("Parameters validation error!", null, result);
		return true;
	}
};

/** The params as the rules leave them (defaults, conversions); throws Moleculer's ValidationError. */
export async function checkParams(broker, action, ctx) {
	action._check = action._check || brokerValidator.compile(action.params);
	const params = ctx.params == null ? {} : ctx.params;
	const result = await action._check(params, { meta: ctx });
	if (result === true) return params;
	const data = result.map(item => ({ ...item, nodeID: broker.nodeID, action: action.name }));
	throw new Errors.ValidationError("Parameters validation error!", null, data);
}

/** The validator writes into the rules that it compiles. */
function cloneRules(rules) {
	if (Array.isArray(rules)) return rules.map(cloneRules);
	if (rules === null || typeof rules !== "object" || Object.getPrototypeOf(rules) !== Object.prototype) return rules;
	return Object.fromEntries(Object.entries(rules).map(([key, value]) => [key, cloneRules(value)]));
}

/** Whether some of these rules need code: functions, or kinds that the node does not know. */
export function needsCode(rules) {
	if (typeof rules === "function") return true;
	if (typeof rules === "string") return /(^|\|)(custom|class|function|objectID)\b/.test(rules);
	if (rules instanceof RegExp || rules === null || typeof rules !== "object") return false;
	if (["custom", "class", "function", "objectID"].includes(rules.type)) return true;
	return Object.values(rules).some(needsCode);
}
