// The globals of Node.js that the engine does not have.
//
// This runs when the component is built, so nothing here may ask the host.

import environment from "wasi:cli/environment@0.2.0";
import config from "isomer:service/config@0.1.0";
import logger from "isomer:service/logger@0.1.0";
import random from "wasi:random/random@0.2.0";

import { makeConsole } from "./runtime/console.js";
import { makeProcess } from "./runtime/process.js";
import { installMathRandom, randomBytes, randomUuid, setSource } from "./runtime/random.js";
import { TextDecoder, TextEncoder } from "./runtime/text.js";
import * as timers from "./runtime/timers.js";

setSource(count => random.getRandomBytes(count));
installMathRandom();

const define = (name, value) =>
	Object.defineProperty(globalThis, name, { value, writable: true, configurable: true, enumerable: false });

const clock = globalThis.performance.now.bind(globalThis.performance);

define("global", globalThis);
define("TextEncoder", TextEncoder);
define("TextDecoder", TextDecoder);
const { setTimeout, setInterval, setImmediate, clearTimeout, clearInterval, clearImmediate } = timers;
for (const fn of [setTimeout, setInterval, setImmediate]) define(fn.name, fn);
define("clearTimeout", clearTimeout);
define("clearInterval", clearInterval);
define("clearImmediate", clearImmediate);
define("console", makeConsole(logger));
define("process", makeProcess(environment, config));
// The engine's own counts from when the component was built.
let origin = null;
define("performance", {
	now() {
		const now = clock();
		origin = origin ?? now;
		return now - origin;
	},
	get timeOrigin() {
		return Date.now() - this.now();
	},
	mark() {},
	measure() {}
});
define("crypto", {
	randomUUID: randomUuid,
	getRandomValues(array) {
		const bytes = new Uint8Array(array.buffer, array.byteOffset, array.byteLength);
		bytes.set(randomBytes(bytes.length));
		return array;
	},
	get subtle() {
		throw new Error("crypto.subtle is not there: use createHash and createHmac of the module 'crypto'.");
	}
});
define("fetch", async () => {
	throw new Error("fetch is not there: a service reaches the network through other services, with ctx.call.");
});

// It is loaded with its first use. Other large ones are in src/inject.
Object.defineProperty(globalThis, "Buffer", {
	configurable: true,
	get() {
		const { Buffer } = require("buffer");
		define("Buffer", Buffer);
		return Buffer;
	},
	set(value) {
		define("Buffer", value);
	}
});
