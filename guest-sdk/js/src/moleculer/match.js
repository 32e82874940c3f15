// Whether a name fits a pattern with `*`, `**` and `?`, as Moleculer decides it for hooks and events.
//
// moleculer: src/utils.js match

const compiled = new Map();

export function match(text, pattern) {
	if (!/[*?]/.test(pattern)) return text === pattern;
	if (pattern === "**") return true;
	let regex = compiled.get(pattern);
	if (!regex) {
		regex = compile(pattern);
		compiled.set(pattern, regex);
	}
	return regex.test(text);
}

// Only `$` at the beginning is escaped there: a dot in a pattern with stars in its middle fits any character.
function compile(pattern) {
	const simple = /^[^*?]*\*{1,2}$/.test(pattern);
	const source = simple ? pattern.replace(/[\\^$.+()[\]{}|]/g, "\\$&") : pattern.replace(/^\$/, "\\$");
	const body = source
		.replace(/\?/g, ".")
		.replace(/\*\*|\*/g, stars => (stars === "**" ? ".*" : "[^\\.]*"));
	return new RegExp(`^${body}$`);
}
