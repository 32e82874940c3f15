// `this.logger` and `broker.logger`: Moleculer's six levels, written to the log of the node.
//
// Arguments are put into one line as the console of Node.js would (runtime/inspect.js); nothing is formatted
// for a level that the node does not write.

import { format } from "../runtime/inspect.js";

const LEVELS = ["fatal", "error", "warn", "info", "debug", "trace"];

/** A logger; `mod` is in front of the line unless it is the service, which the node's log names anyway. */
export function makeLogger(host, mod, props = {}) {
	const prefix = mod && !props.svc ? `${String(mod).toUpperCase()}: ` : "";
	const logger = { appendable: true };
	for (const level of LEVELS) {
		logger[level] = (...args) => {
			if (host.logger.enabled(level)) host.logger.log(level, prefix + format(args), null);
		};
	}
	logger.log = logger.info;
	return logger;
}
