// The hooks around an action: those of the service for all actions and for names that match, then those of
// the action itself.
//
// Order as in Moleculer: before `*`, before by name, before of the action; then after and error hooks the
// other way round. Each after-hook gets the result of the one in front of it, and each error-hook may end the
// error by returning a result. A name instead of a function is a method of the service.
//
// moleculer: src/middlewares/action-hook.js

import { match } from "./match.js";

/** `handler` with its hooks, or itself when it has none. */
export function wrapWithHooks(service, action, handler) {
	const ofService = service.schema.hooks || {};
	const ofAction = action.hooks || {};
	const pick = kind => byName(service, ofService[kind], action.rawName);
	const all = kind => functions(service, (ofService[kind] || {})["*"]);
	const own = kind => functions(service, ofAction[kind]);
	const before = [...all("before"), ...pick("before"), ...own("before")];
	const after = [...own("after"), ...pick("after"), ...all("after")];
	const failed = [...own("error"), ...pick("error"), ...all("error")];
	if (before.length + after.length + failed.length === 0) return handler;
	return ctx => run(service, ctx, handler, before, after, failed);
}

async function run(service, ctx, handler, before, after, failed) {
	let result;
	let error;
	let wrong = false;
	try {
		for (const hook of before) await hook.call(service, ctx);
		result = await handler(ctx);
		for (const hook of after) result = await hook.call(service, ctx, result);
	} catch (thrown) {
		[wrong, error] = [true, thrown];
	}
	for (const hook of failed) {
		if (!wrong) break;
		try {
			result = await hook.call(service, ctx, error);
			wrong = false;
		} catch (thrown) {
			error = thrown;
		}
	}
	if (wrong) throw error;
	return result;
}

function byName(service, hooks, name) {
	if (!hooks) return [];
	return Object.keys(hooks)
		.filter(key => key !== "*" && key.split("|").some(pattern => match(name, pattern)))
		.flatMap(key => functions(service, hooks[key]));
}

function functions(service, hooks) {
	const list = Array.isArray(hooks) ? hooks : [hooks];
	return list
		.map(hook => (typeof hook === "string" ? service[hook] : hook))
		.filter(hook => typeof hook === "function");
}
