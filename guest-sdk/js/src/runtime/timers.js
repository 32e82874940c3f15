// Timers of the instance: one queue for `setTimeout`, `setInterval` and `setImmediate`.
//
// Somebody has to wait for the next timer. In the mode `shared` that is `background`, which runs as long as
// the instance; in the other modes nothing runs between calls, so the call that is running waits (serve.js).
// Whoever waits does it with `hold`, which `setTimeout` ends when the new timer is the first.

/** The number that `background` holds; calls hold other ones. */
export const BACKGROUND = 0;

const due = new Map();
let lastId = 0;
let wake = () => {};
let report = () => {};

/** `onSooner` is called when the first timer has changed, `onError` with what a timer's function threw. */
export function watch(onSooner, onError) {
	wake = onSooner;
	report = onError;
}

class Timer {
	constructor(id, run, ms, every, fixed) {
		Object.assign(this, { id, run, every, fixed, at: Date.now() + ms, referenced: true });
	}
	ref() {
		this.referenced = true;
		return this;
	}
	unref() {
		this.referenced = false;
		return this;
	}
	hasRef() {
		return this.referenced;
	}
	refresh() {
		this.at = Date.now() + this.fixed;
		due.set(this.id, this);
		wake();
		return this;
	}
	close() {
		clear(this);
		return this;
	}
	[Symbol.toPrimitive]() {
		return this.id;
	}
}

const MS_MAX = 2147483647;

/** As in Node.js, times outside of 1 … 2^31-1 become 1. */
function span(ms) {
	const number = Number(ms);
	return number >= 1 && number <= MS_MAX ? Math.trunc(number) : 1;
}

function add(fn, ms, args, every) {
	if (typeof fn !== "function") {
		throw new TypeError('The "callback" argument must be of type function.');
	}
	lastId += 1;
	const timer = new Timer(lastId, () => fn(...args), ms, every ? ms : null, ms);
	due.set(timer.id, timer);
	wake();
	return timer;
}

function clear(timer) {
	if (timer === null || timer === undefined) return;
	due.delete(typeof timer === "object" ? timer.id : Number(timer));
}

/** Milliseconds until the next timer; `null` without any. */
export function untilNext() {
	let first = Infinity;
	for (const { at } of due.values()) if (at < first) first = at;
	return first === Infinity ? null : Math.max(0, Math.min(first - Date.now(), MS_MAX));
}

/** Runs the timers whose time has come, in their order. */
export function runDue() {
	const now = Date.now();
	const ready = [...due.values()].filter(({ at }) => at <= now).sort((a, b) => a.at - b.at || a.id - b.id);
	for (const timer of ready) {
		// An earlier one may have cleared it.
		if (due.get(timer.id) !== timer) continue;
		if (timer.every === null) due.delete(timer.id);
		else timer.at = Date.now() + timer.every;
		try {
			const result = timer.run();
			if (result && typeof result.then === "function") result.then(undefined, report);
		} catch (error) {
			report(error);
		}
	}
}

export const setTimeout = (fn, ms, ...args) => add(fn, span(ms), args, false);
export const setInterval = (fn, ms, ...args) => add(fn, span(ms), args, true);
export const setImmediate = (fn, ...args) => add(fn, 0, args, false);
export const clearTimeout = clear;
export const clearInterval = clear;
export const clearImmediate = clear;
