// Runs the service as far as its description, under Node.js but with no more globals than a component has, so
// that its mistakes are found before a component is made of it.

import vm from "node:vm";

/** What the functions of the host are while a service describes itself. */
const HOST = {
	"isomer:service/broker-async@0.1.0": {},
	"isomer:service/cacher-async@0.1.0": {},
	"isomer:service/timers@0.1.0": {},
	"isomer:service/tracing-async@0.1.0": {},
	"isomer:service/config@0.1.0": {
		settings: () => "{}",
		service: () => "",
		nodeId: () => "",
		namespace: () => ""
	},
	"isomer:service/logger@0.1.0": { enabled: () => false, log: () => {} },
	"wasi:cli/environment@0.2.0": { getEnvironment: () => [] },
	"wasi:random/random@0.2.0": { getRandomBytes: count => new Uint8Array(count).map(() => Math.random() * 256) }
};

/** `{schema, warnings}` of a bundle that was made with `check`. */
export function check({ code, texts }, fileName) {
	const sandbox = { __host: HOST, __isomerTexts: texts, performance, queueMicrotask, atob, btoa };
	vm.createContext(sandbox);
	vm.runInContext(`${code}\n;this.__isomer = __isomer;`, sandbox, { filename: fileName });
	// Over JSON, so that nothing of that world is left.
	return JSON.parse(JSON.stringify(sandbox.__isomer.describe()));
}
