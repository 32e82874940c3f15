// Values on their way to the host and back: `undefined` is `absent`, bytes stay bytes, and everything else
// is JSON, as between Moleculer nodes.

/** A value as the variant `payload`. Throws a TypeError for what JSON does not hold (rings, BigInts). */
export function encode(value) {
	if (value === undefined) return { tag: "absent" };
	if (value instanceof Uint8Array) return { tag: "bytes", val: plainBytes(value) };
	if (value instanceof ArrayBuffer) return { tag: "bytes", val: new Uint8Array(value) };
	const text = JSON.stringify(value);
	// A function or a symbol is no value to JSON.
	return text === undefined ? { tag: "absent" } : { tag: "json", val: text };
}

/** The value that a payload holds; bytes are a Buffer, as a service under Node.js gets them. */
export function decode(payload) {
	if (payload.tag === "json") return JSON.parse(payload.val);
	if (payload.tag === "absent") return undefined;
	const { buffer, byteOffset, byteLength } = payload.val;
	return globalThis.Buffer ? Buffer.from(buffer, byteOffset, byteLength) : payload.val;
}

/** The engine takes only a Uint8Array itself, not one of its subclasses such as Buffer. */
function plainBytes(bytes) {
	if (bytes.constructor === Uint8Array) return bytes;
	return new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
