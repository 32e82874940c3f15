// `async_hooks` of Node.js, as far as libraries need it to load. The engine cannot follow a context through
// promises, so a storage that somebody really uses says so instead of losing its value.

export class AsyncResource {
	runInAsyncScope(fn, self, ...args) {
		return fn.apply(self, args);
	}
	emitDestroy() {
		return this;
	}
	static bind(fn) {
		return fn;
	}
}

export class AsyncLocalStorage {
	getStore() {
		return undefined;
	}
	run() {
		throw new Error("AsyncLocalStorage does not work in a component: hand the value on, or put it into ctx.locals.");
	}
	enterWith() {
		return this.run();
	}
	exit(fn, ...args) {
		return fn(...args);
	}
	disable() {}
}

export const executionAsyncId = () => 0;
export const triggerAsyncId = () => 0;
export const createHook = () => ({ enable() {}, disable() {} });

export default { AsyncResource, AsyncLocalStorage, executionAsyncId, triggerAsyncId, createHook };
