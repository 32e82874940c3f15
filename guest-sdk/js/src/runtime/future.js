// Futures of the host as promises. A future has been begun when it is there; it has to be dropped after it was
// read, because each open one counts against the instance's handles.

import { errorFromFailure } from "./failure.js";

/** Waits for `future<result<T, failure>>`; throws the error that the failure stands for. */
export async function settle(future) {
	const result = await value(future);
	if (result.tag === "err") throw errorFromFailure(result.val);
	return result.val;
}

/** Waits for a future that cannot fail. */
export async function value(future) {
	try {
		return await future.read();
	} finally {
		future.drop();
	}
}

/** Runs a plain function of the boundary; a failure that it throws becomes an error. */
export function attempt(run) {
	try {
		return run();
	} catch (failure) {
		throw errorFromFailure(failure);
	}
}

/** Releases a resource of the host that nobody needs any more. */
export function dispose(resource) {
	const release = resource && Symbol.dispose && resource[Symbol.dispose];
	if (release) release.call(resource);
}
