// TextEncoder and TextDecoder, which the engine does not have: UTF-8, and what Node.js decodes besides of the
// old one-byte encodings that services meet (latin1), and UTF-16.

const NAMES = {
	"utf-8": "utf-8",
	utf8: "utf-8",
	"unicode-1-1-utf-8": "utf-8",
	latin1: "windows-1252",
	ascii: "windows-1252",
	"us-ascii": "windows-1252",
	"iso-8859-1": "windows-1252",
	"windows-1252": "windows-1252",
	"utf-16le": "utf-16le",
	"utf-16": "utf-16le"
};

export class TextEncoder {
	get encoding() {
		return "utf-8";
	}

	encode(text = "") {
		text = String(text);
		const bytes = new Uint8Array(text.length * 3);
		const { written } = this.encodeInto(text, bytes);
		return bytes.slice(0, written);
	}

	encodeInto(text, bytes) {
		let read = 0;
		let written = 0;
		for (const char of text) {
			let code = char.codePointAt(0);
			// Half a surrogate pair has no UTF-8.
			if (code >= 0xd800 && code <= 0xdfff) code = 0xfffd;
			const count = code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
			if (written + count > bytes.length) break;
			write(bytes, written, code, count);
			written += count;
			read += char.length;
		}
		return { read, written };
	}
}

const LEADS = [0, 0, 0xc0, 0xe0, 0xf0];

function write(bytes, at, code, count) {
	for (let index = count - 1; index > 0; index -= 1) {
		bytes[at + index] = 0x80 | (code & 0x3f);
		code >>= 6;
	}
	bytes[at] = LEADS[count] | code;
}

export class TextDecoder {
	constructor(label = "utf-8", { fatal = false, ignoreBOM = false } = {}) {
		const encoding = NAMES[String(label).trim().toLowerCase()];
		if (!encoding) throw new RangeError(`The "${label}" encoding is not supported`);
		Object.assign(this, { encoding, fatal, ignoreBOM });
		this._rest = [];
	}

	decode(input, { stream = false } = {}) {
		const bytes = [...this._rest, ...view(input)];
		this._rest = [];
		if (this.encoding === "windows-1252") return pieces(bytes);
		const units = this.encoding === "utf-16le" ? pairs(bytes) : null;
		if (units) return pieces(units);
		const codes = this._codes(bytes, stream);
		if (!this.ignoreBOM && codes[0] === 0xfeff) codes.shift();
		return pieces(codes);
	}

	_codes(bytes, stream) {
		const codes = [];
		let at = 0;
		while (at < bytes.length) {
			const { code, used, cut } = readOne(bytes, at);
			if (cut && stream) {
				this._rest = bytes.slice(at);
				break;
			}
			if (code === null && this.fatal) {
				throw Object.assign(new TypeError("The encoded data was not valid"), { code: "ERR_ENCODING_INVALID_ENCODED_DATA" });
			}
			codes.push(code === null ? 0xfffd : code);
			at += used;
		}
		return codes;
	}
}

function view(input) {
	if (input === undefined) return [];
	if (ArrayBuffer.isView(input)) return new Uint8Array(input.buffer, input.byteOffset, input.byteLength);
	return new Uint8Array(input);
}

/** The character that begins at `at`; `code` is null for what is no UTF-8, `cut` when it ends too soon. */
function readOne(bytes, at) {
	const lead = bytes[at];
	if (lead < 0x80) return { code: lead, used: 1 };
	const count = lead >= 0xc2 && lead < 0xe0 ? 2 : lead >= 0xe0 && lead < 0xf0 ? 3 : lead >= 0xf0 && lead < 0xf5 ? 4 : 0;
	if (count === 0) return { code: null, used: 1 };
	let code = lead & (0x7f >> count);
	for (let index = 1; index < count; index += 1) {
		if (at + index >= bytes.length) return { code: null, used: index, cut: true };
		const byte = bytes[at + index];
		const [low, high] = index === 1 ? secondByte(lead) : [0x80, 0xbf];
		if (byte < low || byte > high) return { code: null, used: index };
		code = (code << 6) | (byte & 0x3f);
	}
	return { code, used: count };
}

/** Overlong forms, surrogates and what is beyond Unicode are refused at the second byte. */
function secondByte(lead) {
	if (lead === 0xe0) return [0xa0, 0xbf];
	if (lead === 0xed) return [0x80, 0x9f];
	if (lead === 0xf0) return [0x90, 0xbf];
	if (lead === 0xf4) return [0x80, 0x8f];
	return [0x80, 0xbf];
}

function pairs(bytes) {
	const units = [];
	for (let at = 0; at + 1 < bytes.length; at += 2) units.push(bytes[at] | (bytes[at + 1] << 8));
	return units[0] === 0xfeff ? units.slice(1) : units;
}

/** In pieces, because a function takes only so many arguments. */
function pieces(codes) {
	let text = "";
	for (let at = 0; at < codes.length; at += 8192) text += String.fromCodePoint(...codes.slice(at, at + 8192));
	return text;
}
