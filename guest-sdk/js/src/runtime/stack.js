// Stacks that name the user's files: the engine knows only lines of the bundle.
//
// The build puts a table into the bundle (`setLines`): for every file of the user the first line of each run
// of lines that follow one another. Lines of the SDK are left out of a stack; they tell a user nothing.

const FRAME = /^\s*at (?:(.*?) \()?(?:file:\/\/)?[^\s()]*user\.js:(\d+)(?::(\d+))?\)?\s*$/;

let table = null;

/** `{files: [name], runs: [[bundleLine, fileIndex, fileLine, count]]}`, sorted by line of the bundle. */
export function setLines(lines) {
	table = lines;
}

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
	if (!match || !table) return frame.trimEnd();
	const [, name, line] = match;
	const found = lookUp(Number(line));
	if (!found) return null;
	return `    at ${name && name !== "<anonymous>" ? `${name} (${found})` : found}`;
}

function lookUp(line) {
	let low = 0;
	let high = table.runs.length - 1;
	while (low <= high) {
		const middle = (low + high) >> 1;
		const [first, file, from, count] = table.runs[middle];
		if (line < first) high = middle - 1;
		else if (line >= first + count) low = middle + 1;
		else return `${table.files[file]}:${from + line - first}`;
	}
	return null;
}
