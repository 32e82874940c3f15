// `util` of Node.js: that of npm, and what has come to Node.js since.

const { isEqual } = require("lodash-es");
const base = require("util");

const parts = {
	...base,
	TextEncoder: globalThis.TextEncoder,
	TextDecoder: globalThis.TextDecoder,
	isDeepStrictEqual: (a, b) => isEqual(a, b),
	stripVTControlCharacters: text => text.replace(/\u001b\[[0-9;]*[A-Za-z]/g, ""),
	styleText: (_format, text) => text,
	toUSVString: text => String(text).toWellFormed()
};
parts.inspect.custom = parts.inspect.custom || Symbol.for("nodejs.util.inspect.custom");

module.exports = parts;
