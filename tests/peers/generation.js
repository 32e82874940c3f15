"use strict";
// Lets packages that know `moleculer` by that name alone find the generation which a test asked for: both are
// installed beside each other, under names with their version. The packages themselves are not touched.

const Module = require("node:module");

const resolve = Module._resolveFilename;

/** From here on `moleculer`, `moleculer-web` and `moleculer-repl` are those of this generation (0.14 or 0.15). */
module.exports = function use(version) {
	const names = ["moleculer", "moleculer-web", "moleculer-repl"];
	Module._resolveFilename = function (request, ...rest) {
		const name = names.find(known => request === known || request.startsWith(`${known}/`));
		if (name) request = `${name}-${version}${request.slice(name.length)}`;
		return resolve.call(this, request, ...rest);
	};
};
