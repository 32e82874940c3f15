// `buffer`: the package, with a `fill` that the engine does at once instead of byte by byte in JavaScript.

// The slash is for the package and not the module of this name.
const buffer = require("buffer/");

const { fill } = buffer.Buffer.prototype;
const fillBytes = Uint8Array.prototype.fill;

/** The number of the one byte that is filled in; else undefined. */
function oneByte(value, encoding) {
	if (typeof value === "number") return value & 255;
	const single = typeof value === "string" && value.length === 1 && value.charCodeAt(0) < 128;
	return single && (encoding === undefined || encoding === "utf8") ? value.charCodeAt(0) : undefined;
}

buffer.Buffer.prototype.fill = function (value, start, end, encoding) {
	const byte = oneByte(value, encoding);
	const inside = (at, from) => at === undefined || (Number.isInteger(at) && at >= from && at <= this.length);
	if (byte === undefined || !inside(start, 0) || !inside(end, start || 0)) return fill.call(this, value, start, end, encoding);
	return fillBytes.call(this, byte, start, end);
};

module.exports = buffer;
