// What Moleculer adds to `Promise`, in place, as it does there: `method`, `delay`, `timeout`, `mapSeries`.
//
// moleculer: src/utils.js polyfillPromise

import { Errors } from "./errors.js";

export function extendPromise(P = Promise) {
	if (P.method) return P;
	const add = (target, name, value) =>
		Object.defineProperty(target, name, { value, configurable: true, writable: true });
	add(P, "method", function (fn) {
		return function (...args) {
			try {
				return P.resolve(fn.apply(this, args));
			} catch (error) {
				return P.reject(error);
			}
		};
	});
	add(P, "delay", ms => new P(resolve => setTimeout(resolve, +ms)));
	add(P.prototype, "delay", function (ms) {
		return this.then(value => P.delay(ms).then(() => value));
	});
	add(P, "TimeoutError", Errors.TimeoutError);
	add(P.prototype, "timeout", function (ms, message) {
		let timer;
		const late = new P((_, reject) => {
			timer = setTimeout(() => reject(new P.TimeoutError(message)), +ms);
		});
		return P.race([late, this]).finally(() => clearTimeout(timer));
	});
	add(P, "mapSeries", async (items, fn) => {
		const results = [];
		for (const item of items) results.push(await fn(await item));
		return results;
	});
	return P;
}
