// `console`: lines of the node's log.

import { format } from "./inspect.js";

const LEVELS = { log: "info", info: "info", warn: "warn", error: "error", debug: "debug", dir: "info" };

export function makeConsole(logger) {
	const started = new Map();
	const write = (level, args) => {
		try {
			logger.log(level, format(args), null);
		} catch {
			// While the service only describes itself nothing can be written.
		}
	};
	const console = {};
	for (const [name, level] of Object.entries(LEVELS)) console[name] = (...args) => write(level, args);
	console.trace = (...args) => write("debug", [...args, new Error("trace").stack]);
	console.table = value => write("info", [value]);
	console.assert = (truth, ...args) => truth || write("error", ["Assertion failed:", ...args]);
	console.group = (...args) => args.length > 0 && write("info", args);
	console.groupEnd = () => {};
	console.time = (label = "default") => void started.set(label, Date.now());
	console.timeEnd = (label = "default") => write("info", [`${label}: ${Date.now() - started.get(label)}ms`]);
	console.count = (label = "default") => {
		const key = `count ${label}`;
		started.set(key, (started.get(key) || 0) + 1);
		write("info", [`${label}: ${started.get(key)}`]);
	};
	return console;
}
