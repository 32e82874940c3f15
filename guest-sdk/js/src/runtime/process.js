// `process`, as far as a service asks it: environment, time, and what it runs on.
//
// The environment is what the operator grants (`env` in NAME.toml). It is read once, with the first use.

export function makeProcess(environment, config) {
	const begun = { at: null };
	let env = null;
	const now = () => performance.now();
	const hrtime = since => {
		const ms = now();
		const [seconds, nanos] = [Math.floor(ms / 1000), Math.floor((ms % 1000) * 1e6)];
		if (!since) return [seconds, nanos];
		const [s, n] = [seconds - since[0], nanos - since[1]];
		return n < 0 ? [s - 1, n + 1e9] : [s, n];
	};
	hrtime.bigint = () => BigInt(Math.floor(now() * 1e6));
	const nothing = () => process;
	const process = {
		title: "isomer",
		version: "v20.0.0",
		versions: { node: "20.0.0", isomer: "0.1.0" },
		release: { name: "isomer" },
		platform: "wasi",
		arch: "wasm32",
		pid: 1,
		ppid: 0,
		argv: ["isomer"],
		argv0: "isomer",
		execArgv: [],
		execPath: "isomer",
		exitCode: undefined,
		stdout: { isTTY: false, columns: 80, write: text => (console.log(String(text).trimEnd()), true) },
		stderr: { isTTY: false, columns: 80, write: text => (console.error(String(text).trimEnd()), true) },
		get env() {
			env = env || Object.fromEntries(environment.getEnvironment());
			return env;
		},
		set env(value) {
			env = value;
		},
		hrtime,
		uptime() {
			begun.at = begun.at === null ? now() : begun.at;
			return (now() - begun.at) / 1000;
		},
		nextTick: (fn, ...args) => queueMicrotask(() => fn(...args)),
		cwd: () => "/",
		memoryUsage: () => ({ rss: 0, heapTotal: 0, heapUsed: 0, external: 0, arrayBuffers: 0 }),
		cpuUsage: () => ({ user: 0, system: 0 }),
		emitWarning: warning => console.warn(String(warning)),
		exit() {
			throw new Error(`A service cannot end the node that it runs in (process.exit, '${config.service()}').`);
		},
		on: nothing,
		once: nothing,
		off: nothing,
		addListener: nothing,
		removeListener: nothing,
		removeAllListeners: nothing,
		listeners: () => [],
		listenerCount: () => 0,
		emit: () => false
	};
	return process;
}
