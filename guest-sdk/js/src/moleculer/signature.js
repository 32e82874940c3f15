// Which of the two forms an event handler has: `(ctx)`, or `(payload, sender, event, ctx)` of older services.
//
// Moleculer 0.14 goes by the name of the first argument, `ctx` or `context`; Moleculer 0.15 knows only the
// first form. The build says which Moleculer the project uses; where it uses none, the rule of 0.14 holds for
// handlers with named arguments, and a handler that takes its argument apart gets the context.
//
// moleculer 0.14: src/service.js isNewSignature

/** `version` is the project's Moleculer, such as `0.14`, or undefined. */
export function takesContext(handler, event, version) {
	if (event.context === true) return true;
	if (version !== undefined && !/^0\.1[0-4]\b/.test(version)) return true;
	const first = firstArgument(handler);
	if (/^_?(ctx|context)$/i.test(first)) return true;
	return version === undefined && first.startsWith("{") && handler.length <= 1;
}

/** The text of the first argument: a name, the beginning of a pattern, or nothing. */
function firstArgument(handler) {
	const source = Function.prototype.toString.call(handler).replace(/\/\*[\s\S]*?\*\/|\/\/.*$/gm, "");
	const arrow = /^\s*(?:async\s+)?([\w$]+)\s*=>/.exec(source);
	if (arrow) return arrow[1];
	const open = source.indexOf("(");
	const match = /^\s*([\w$]+|[{[])/.exec(source.slice(open + 1));
	return match ? match[1] : "";
}
