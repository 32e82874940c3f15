// `timers` and `timers/promises` of Node.js.

export const setTimeout = (...args) => globalThis.setTimeout(...args);
export const setInterval = (...args) => globalThis.setInterval(...args);
export const setImmediate = (...args) => globalThis.setImmediate(...args);
export const clearTimeout = timer => globalThis.clearTimeout(timer);
export const clearInterval = timer => globalThis.clearInterval(timer);
export const clearImmediate = timer => globalThis.clearImmediate(timer);

export const promises = {
	setTimeout: (ms, value) => new Promise(done => globalThis.setTimeout(done, ms, value)),
	setImmediate: value => new Promise(done => globalThis.setImmediate(done, value)),
	async *setInterval(ms, value) {
		for (;;) yield await promises.setTimeout(ms, value);
	},
	scheduler: { wait: ms => promises.setTimeout(ms), yield: () => promises.setImmediate() }
};

export default { setTimeout, setInterval, setImmediate, clearTimeout, clearInterval, clearImmediate, promises };
