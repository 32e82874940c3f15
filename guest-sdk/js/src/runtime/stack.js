// Stacks that name the user's files: the engine knows only lines of the bundle.
//
// The build puts a table behind the bundle, `globalThis.__isomerLines`: `{files: [name], runs: [[line and column
// of the bundle, index of the file, line in the file]]}`, sorted; each run reaches to the next. Index -1 is the
// SDK, whose lines are left out of a stack: they tell a user nothing.

const FRAME = /^\s*at (?:(.*?) \()?(?:file:\/\/)?(?:[^\s()]*user\.js|<\w*>):(\d+)(?::(\d+))?\)?\s*$/;

/** The stack of an error as text with its message in front, as in Node.js. */
export function userStack(error) {
	const { stack } = error;
	if (typeof stack !== "string") return null;
	const head = `${error.name || "Error"}: ${error.message || ""}`;
	const lines = stack.split("\n");
	// V8 begins with the message, QuickJS does not.
	const frames = lines.filter(line => /^\s*at /.test(line)).map(place).filter(Boolean);
	if (frames.length === 0 && stack) return stack;
	return [head, ...frames].join("\n");
}

function place(frame) {
	const match = FRAME.exec(frame);
	const table = globalThis.__isomerLines;
	if (!match || !table) return frame.trimEnd();
	const [, name, line, column] = match;
	const found = lookUp(table, Number(line), Number(column || 1));
	if (!found) return null;
	return `    at ${name && name !== "<anonymous>" ? `${name} (${found})` : found}`;
}

/** `file:line` of a place in the bundle; `null` in the SDK. */
export function lookUp({ files, runs }, line, column) {
	let [low, high] = [0, runs.length - 1];
	while (low < high) {
		const middle = (low + high + 1) >> 1;
		const [atLine, atColumn] = runs[middle];
		if (atLine < line || (atLine === line && atColumn <= column)) low = middle;
		else high = middle - 1;
	}
	const [atLine, , file, from] = runs[low] || [];
	return atLine === line && file >= 0 ? `${files[file]}:${from}` : null;
}
