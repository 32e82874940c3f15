// `crypto` of Node.js: hashes, HMACs, random values, comparison in constant time, PBKDF2 and scrypt.
//
// The algorithms are those of @noble/hashes. Ciphers, signatures and certificates are not here.

import { hmac } from "@noble/hashes/hmac.js";
import { md5, ripemd160, sha1 } from "@noble/hashes/legacy.js";
import { pbkdf2 as derive } from "@noble/hashes/pbkdf2.js";
import { scrypt as stretch } from "@noble/hashes/scrypt.js";
import { sha224, sha256, sha384, sha512 } from "@noble/hashes/sha2.js";
import { sha3_256, sha3_512 } from "@noble/hashes/sha3.js";

import { randomBytes as random, randomUuid } from "../runtime/random.js";

const HASHES = { md5, ripemd160, sha1, sha224, sha256, sha384, sha512, "sha3-256": sha3_256, "sha3-512": sha3_512 };

function find(name) {
	const key = String(name).toLowerCase().replace(/^rsa-/, "").replace(/^sha-/, "sha");
	const hash = HASHES[key];
	if (!hash) throw new Error(`Digest method '${name}' is not supported; there are ${Object.keys(HASHES).join(", ")}.`);
	return hash;
}

const bytesOf = (data, encoding) => (typeof data === "string" ? Buffer.from(data, encoding) : new Uint8Array(data.buffer || data, data.byteOffset || 0, data.byteLength));

class Hash {
	constructor(state) {
		this._state = state;
	}
	update(data, encoding) {
		this._state.update(bytesOf(data, encoding));
		return this;
	}
	digest(encoding) {
		const bytes = Buffer.from(this._state.digest());
		return encoding && encoding !== "buffer" ? bytes.toString(encoding) : bytes;
	}
	copy() {
		return new Hash(this._state.clone());
	}
}

export const createHash = name => new Hash(find(name).create());
export const createHmac = (name, key) => new Hash(hmac.create(find(name), bytesOf(key)));
export const getHashes = () => Object.keys(HASHES);
export const hash = (name, data, encoding = "hex") => createHash(name).update(data).digest(encoding);
export const randomUUID = randomUuid;
export const webcrypto = globalThis.crypto;
export const getRandomValues = array => globalThis.crypto.getRandomValues(array);

export function randomBytes(count, done) {
	const bytes = Buffer.from(random(count));
	if (!done) return bytes;
	queueMicrotask(() => done(null, bytes));
	return undefined;
}

export function randomFillSync(target, offset = 0, size = target.byteLength - offset) {
	new Uint8Array(target.buffer, target.byteOffset + offset, size).set(random(size));
	return target;
}

export function randomInt(low, high, done) {
	if (high === undefined || typeof high === "function") [low, high, done] = [0, low, high];
	const range = high - low;
	if (!(range > 0 && range <= 2 ** 48 - 1)) throw new RangeError('The value of "max" is out of range.');
	// Numbers above the last whole multiple of the range would favour the low ones.
	const most = 2 ** 48 - (2 ** 48 % range);
	let drawn;
	do drawn = Buffer.from(random(6)).readUIntBE(0, 6);
	while (drawn >= most);
	const value = low + (drawn % range);
	if (!done) return value;
	queueMicrotask(() => done(null, value));
	return undefined;
}

export function timingSafeEqual(a, b) {
	const [left, right] = [bytesOf(a), bytesOf(b)];
	if (left.length !== right.length) throw new RangeError("Input buffers must have the same byte length");
	let difference = 0;
	for (let index = 0; index < left.length; index += 1) difference |= left[index] ^ right[index];
	return difference === 0;
}

export function pbkdf2Sync(password, salt, iterations, length, digest) {
	return Buffer.from(derive(find(digest), bytesOf(password), bytesOf(salt), { c: iterations, dkLen: length }));
}

export function scryptSync(password, salt, length, { N, r, p, cost = N ?? 16384, blockSize = r ?? 8, parallelization = p ?? 1 } = {}) {
	return Buffer.from(stretch(bytesOf(password), bytesOf(salt), { N: cost, r: blockSize, p: parallelization, dkLen: length }));
}

/** The form with a callback, which computes at once and answers later. */
const later = compute => (...args) => {
	const done = args.pop();
	let result;
	try {
		result = [null, compute(...args)];
	} catch (error) {
		result = [error];
	}
	queueMicrotask(() => done(...result));
};

export const pbkdf2 = later(pbkdf2Sync);
export const scrypt = later(scryptSync);

export default {
	createHash, createHmac, getHashes, hash, randomUUID, webcrypto, getRandomValues, randomBytes, randomFillSync,
	randomInt, timingSafeEqual, pbkdf2Sync, scryptSync, pbkdf2, scrypt
};
