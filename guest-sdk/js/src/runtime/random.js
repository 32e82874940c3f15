// Randomness of the host. The engine's own generator was seeded when the component was built, so every
// instance would draw the same numbers: `install` puts one in its place that is seeded by the host.

let source = null;

/** `source(count)` gives that many bytes nobody can guess. */
export function setSource(fill) {
	source = fill;
}

export function randomBytes(count) {
	return source(count);
}

/** A random UUID, version 4. */
export function randomUuid() {
	const bytes = source(16);
	bytes[6] = (bytes[6] & 0x0f) | 0x40;
	bytes[8] = (bytes[8] & 0x3f) | 0x80;
	const hex = Array.from(bytes, byte => byte.toString(16).padStart(2, "0")).join("");
	return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`;
}

/** Replaces `Math.random` by xoshiro128** with a seed of the host, drawn with the first number. */
export function installMathRandom() {
	let state = null;
	Math.random = () => {
		state = state || new Uint32Array(source(16).slice().buffer);
		return (next(state) >>> 5) / 134217728 + (next(state) >>> 6) / 67108864 / 134217728;
	};
}

const rotate = (value, by) => (value << by) | (value >>> (32 - by));

function next(state) {
	const result = Math.imul(rotate(Math.imul(state[1], 5), 7), 9);
	const shifted = state[1] << 9;
	state[2] ^= state[0];
	state[3] ^= state[1];
	state[1] ^= state[2];
	state[0] ^= state[3];
	state[2] ^= shifted;
	state[3] = rotate(state[3], 11);
	return result;
}
