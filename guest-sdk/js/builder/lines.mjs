// The table behind the bundle that leads a line of it back to the user's file (src/runtime/stack.js).

import path from "node:path";

const DIGITS = new Map([..."ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"].map((char, value) => [char, value]));

/** The numbers of one segment of a source map. */
function decode(segment) {
	const numbers = [];
	let [value, shift] = [0, 0];
	for (const char of segment) {
		const digit = DIGITS.get(char);
		value |= (digit & 31) << shift;
		shift += 5;
		if (digit & 32) continue;
		numbers.push(value & 1 ? -(value >> 1) : value >> 1);
		[value, shift] = [0, 0];
	}
	return numbers;
}

/** `{files, runs}` of a source map; `keep(file)` says the name of a file in stacks, or nothing for none. */
export function linesOf(map, folder, keep) {
	const names = map.sources.map(source => keep(path.resolve(folder, source)) ?? null);
	const files = [...new Set(names.filter(Boolean))];
	const runs = [];
	let [source, line] = [0, 0];
	map.mappings.split(";").forEach((mappings, index) => {
		let column = 0;
		for (const segment of mappings ? mappings.split(",") : []) {
			const [column_, source_, line_] = decode(segment);
			column += column_;
			source += source_ ?? 0;
			line += line_ ?? 0;
			const file = source_ === undefined ? -1 : files.indexOf(names[source]);
			add(runs, [index + 1, column + 1, file, file < 0 ? 0 : line + 1]);
		}
	});
	return { files, runs };
}

/** Only where the line of the user's file changes; a line of the bundle without a run has nothing of the user. */
function add(runs, run) {
	const last = runs.at(-1);
	const follows = last && last[0] === run[0];
	if (follows ? last[2] !== run[2] || last[3] !== run[3] : run[2] >= 0) runs.push(run);
}
