// Values as text for a log line: like the console of Node.js, on one line and bounded.

const DEPTH_MAX = 4;
const ITEMS_MAX = 100;

/** All arguments of a logging function as one text; `%s %d %i %f %j %o %O %%` in the first are filled. */
export function format(args) {
	if (typeof args[0] !== "string") return args.map(show).join(" ");
	let used = 1;
	const head = args[0].replace(/%[sdifjoOc%]/g, mark => {
		if (mark === "%%") return "%";
		if (used >= args.length) return mark;
		const value = args[used++];
		if (mark === "%s") return typeof value === "object" ? show(value) : String(value);
		if (mark === "%d" || mark === "%f") return String(Number(value));
		if (mark === "%i") return String(Math.trunc(Number(value)));
		if (mark === "%c") return "";
		return inspect(value);
	});
	return [head, ...args.slice(used).map(show)].join(" ");
}

const show = value => (typeof value === "string" ? value : inspect(value));

/** One value; what is deeper than four levels, or too long, is cut. */
export function inspect(value, depth = 0, seen = new Set()) {
	if (typeof value === "string") return JSON.stringify(value);
	if (typeof value === "bigint") return `${value}n`;
	if (typeof value === "function") return `[Function: ${value.name || "(anonymous)"}]`;
	if (typeof value !== "object" || value === null) return String(value);
	if (seen.has(value)) return "[Circular]";
	const simple = simpleObject(value);
	if (simple !== undefined) return simple;
	if (depth > DEPTH_MAX) return Array.isArray(value) ? "[Array]" : "[Object]";
	seen.add(value);
	try {
		return compound(value, item => inspect(item, depth + 1, seen));
	} finally {
		seen.delete(value);
	}
}

function simpleObject(value) {
	if (value instanceof Error) {
		const head = `${value.name}: ${value.message}`;
		const { stack } = value;
		return typeof stack !== "string" || !stack ? head : stack.startsWith(head) ? stack : `${head}\n${stack}`;
	}
	if (value instanceof Date) return Number.isNaN(value.getTime()) ? "Invalid Date" : value.toISOString();
	if (value instanceof RegExp) return String(value);
	if (value instanceof Uint8Array) return `<${value.length} bytes>`;
	if (value instanceof Promise) return "[Promise]";
	return undefined;
}

function compound(value, item) {
	if (Array.isArray(value)) return `[ ${cut(value, item)} ]`;
	if (value instanceof Map) return `Map { ${cut([...value], ([key, entry]) => `${item(key)} => ${item(entry)}`)} }`;
	if (value instanceof Set) return `Set { ${cut([...value], item)} }`;
	const name = value.constructor && value.constructor.name;
	const prefix = name && name !== "Object" ? `${name} ` : "";
	const entries = Object.entries(typeof value.toJSON === "function" ? value.toJSON() || {} : value);
	return `${prefix}{ ${cut(entries, ([key, entry]) => `${key}: ${item(entry)}`)} }`;
}

function cut(items, show) {
	const shown = items.slice(0, ITEMS_MAX).map(show).join(", ");
	return items.length > ITEMS_MAX ? `${shown}, … ${items.length - ITEMS_MAX} more` : shown;
}
