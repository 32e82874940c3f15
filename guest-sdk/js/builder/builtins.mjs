// The modules of Node.js: what stands for them in a component, and what to do about those that cannot be there.

import { builtinModules } from "node:module";

/** Module → a file of the SDK (`./…`) or a package of the SDK. */
const REPLACED = {
	assert: "assert",
	"assert/strict": "assert",
	async_hooks: "./src/node/async-hooks.js",
	buffer: "buffer",
	console: "./src/node/console.cjs",
	crypto: "./src/node/crypto.js",
	events: "events",
	os: "./src/node/os.js",
	path: "path-browserify",
	"path/posix": "path-browserify",
	perf_hooks: "./src/node/perf-hooks.js",
	process: "./src/node/process.cjs",
	punycode: "punycode",
	querystring: "querystring",
	stream: "readable-stream",
	"stream/promises": "./src/node/stream-promises.cjs",
	string_decoder: "string_decoder",
	timers: "./src/node/timers.js",
	"timers/promises": "./src/node/timers-promises.js",
	tty: "./src/node/tty.js",
	url: "./src/node/url.js",
	util: "./src/node/inspecting.cjs"
};

const NETWORK = "A service has no sockets. Reach other systems through a service that runs under Node.js in the same mesh, with ctx.call.";
const THREADS = "A component has one thread and starts no programs. Move this work into a service of its own, which the node runs beside this one.";
const FILES = "A component sees no files of the machine. Import data as a module (JSON can be imported), or ask a service that owns the files.";

const MENDS = {
	fs: FILES, "fs/promises": FILES,
	net: NETWORK, tls: NETWORK, dgram: NETWORK, dns: NETWORK, "dns/promises": NETWORK, http: NETWORK, https: NETWORK, http2: NETWORK,
	child_process: THREADS, worker_threads: THREADS, cluster: THREADS,
	zlib: "Use a package in plain JavaScript, such as pako or fflate.",
	vm: "Code that is made at run time can be run with `new Function`.",
	module: "Modules are bundled when the service is built: import them by a fixed name."
};

const NODE_ONLY = "It is a part of Node.js that a component does not have.";

const bare = name => name.replace(/^node:/, "");

export const isBuiltin = name => name.startsWith("node:") || builtinModules.includes(name);

/** What stands for a module of Node.js; undefined when nothing does. */
export const replacement = name => REPLACED[bare(name)];

/** What to do about a module that nothing stands for. */
export const mend = name => MENDS[bare(name)] || MENDS[bare(name).split("/")[0]] || NODE_ONLY;
