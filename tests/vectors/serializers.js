// Records packets as Moleculer's own serializers write them, as `serializers.json` beside this file:
//   npm ci --prefix ../peers && node serializers.js
// For every format and packet: the bytes, the JSON text that a guest sees of what the library reads back from
// them, and the bytes that the library writes for what the guest sees, where they differ from the first.
// A format that cannot write a packet has no entry. The serializers of 0.14 must write the same.
"use strict";

const fs = require("fs");
const path = require("path");
const peers = name => require(path.join(__dirname, "../peers/node_modules", name));

// msgpack5 says that a Map becomes an object.
console.warn = () => {};

const serializers = {
	JSON: "json",
	JSONExt: "json-extended",
	MsgPack: "msgpack",
	Notepack: "notepack",
	CBOR: "cbor"
};

function load(version, file) {
	if (version === "0.14" && file === "json-extended") return null;
	const Serializer = peers(`moleculer-${version}/src/serializers/${file}`);
	const serializer = new Serializer();
	serializer.init({ fatal: message => { throw new Error(message); } });
	return serializer;
}

/** What a guest sees, with Buffers and big integers still as such. */
function seen(value, inList) {
	if (value === undefined) return inList ? null : undefined;
	if (typeof value === "number") return Number.isFinite(value) ? value : null;
	if (value === null || typeof value !== "object") return value;
	if (Buffer.isBuffer(value)) return value;
	if (ArrayBuffer.isView(value)) return Buffer.from(value.buffer, value.byteOffset, value.byteLength);
	if (value instanceof Date) return value.toJSON();
	if (value instanceof RegExp) return `/${value.source}/${value.flags}`;
	if (value instanceof Set) return [...value].map(item => seen(item, true));
	if (value instanceof Map)
		return Object.fromEntries([...value].map(([key, item]) => [String(key), seen(item)]));
	if (Array.isArray(value)) return value.map(item => seen(item, true));
	const isByte = item => Number.isInteger(item) && item >= 0 && item < 256;
	if (value.type === "Buffer" && Array.isArray(value.data) && value.data.every(isByte) && Object.keys(value).length === 2)
		return Buffer.from(value.data);
	const members = Object.entries(value).map(([key, item]) => [key, seen(item)]);
	return Object.fromEntries(members.filter(([, item]) => item !== undefined));
}

/** The JSON text of that. JSON.stringify knows no BigInt, whose digits are put in afterwards. */
const text = value =>
	JSON.stringify(value, (_, item) => (typeof item === "bigint" ? `BIG${item}` : item)).replace(
		/"BIG(-?\d+)"/g,
		"$1"
	);

/** A packet as transit makes it; undefined members of its own stay. */
const envelope = { ver: "5", sender: "n" };
const context = { meta: {}, headers: {}, level: 1, tracing: null, parentID: null, requestID: "1", caller: null };
const request = (params, over) => {
	const { meta, headers, ...rest } = context;
	return {
		id: "1", action: "a.b", params, meta, headers, timeout: 0, ...rest, stream: false, ...over, ...envelope
	};
};
const response = (data, over) => ({ id: "1", meta: {}, headers: {}, success: true, data, ...over, ...envelope });
const event = (data, over) => ({
	id: "1", event: "a.b", data, groups: ["g"], broadcast: false, ...context, needAck: null, ...over, ...envelope
});

const range = (from, to, make) => Array.from({ length: to - from + 1 }, (_, n) => make(from + n));
const around = (...centres) => centres.flatMap(n => [n - 1, n, n + 1]);
const keys = n => Object.fromEntries(range(1, n, i => [`k${i}`, i]));

const integers = [
	...around(0, 24, 128, 256, 65536, 2 ** 31, 2 ** 32),
	...around(-24, -32, -128, -256, -32768, -65536, -214748365, -(2 ** 31), -(2 ** 32)),
	2 ** 53 - 1, 2 ** 53, 2 ** 53 + 2, -(2 ** 53) + 1, -(2 ** 53), -(2 ** 53) - 2, 2 ** 60, -(2 ** 60), -(2 ** 63)
];
const floats = [
	1.5, -1.5, 0.1, 1 / 3, 1e-6, 1e-7, 5e-324, Number.MAX_VALUE, 3.4028234663852886e38 / 3, 16777216.5, 1e-45,
	Math.fround(0.1), 4294967295.5, -0.0, 123456.789
];
const large = [2 ** 64, 1e20, 1e21, 1.5e300, -1e300];
const texts = [
	"", "a", "é", "€", "\u{1F600}", "\0\u0001\u001f\u007f", "\"\\/\b\f\n\r\t", "\u2028\u2029", "\ufeff", "null",
	"[", "[[", "[[DT]]5", "[[ES]]x", "[[XX]]y", "x[[DT]]5", "__proto__", "\\u005b[DT]]1",
	...[22, 23, 24, 31, 32, 63, 64, 255, 256].map(n => "x".repeat(n)),
	...[7, 8, 11, 12, 16, 21, 22].map(n => "€".repeat(n)), "é".repeat(127), "é".repeat(128)
];
const buffers = [0, 1, 23, 24, 255, 256].map(n => Buffer.alloc(n, n % 251));
const dates = [
	0, 1, 1500000000000, 1500000000123, 4294967295000, 4294967296000, 4294967295999, 17179869183000, 20000000000123,
	-1, -1000, -62167219200000
].map(ms => new Date(ms));

const values = {
	integers, floats, large, texts, dates, buffers,
	big: [2n, 2n ** 53n + 1n, -(2n ** 53n) - 1n, 2n ** 63n, 2n ** 64n - 1n, -(2n ** 63n), -(2n ** 64n) + 1n],
	bigger: [2n ** 64n, -(2n ** 64n) - 1n, 10n ** 40n, -(10n ** 40n) + 7n],
	notFinite: [NaN, Infinity, -Infinity],
	literals: [null, true, false],
	undefinedMember: { a: undefined, b: 1, c: { d: undefined } },
	undefinedItem: [undefined, 1, [undefined]],
	function: { a() {}, b: 1 },
	emptyList: [], emptyObject: {}, nested: [[[[]]], { a: { b: [{ c: {} }] } }],
	lists: [15, 16, 17, 23, 24, 25, 255, 256].map(n => range(1, n, i => i % 7)),
	objects: [15, 16, 17, 24].map(keys), object256: keys(256),
	keys: Object.fromEntries(texts.filter(key => key !== "__proto__").map((key, n) => [key, n])),
	indexes: { 10: "a", 9: "b", 0: "c", "01": "d", "-1": "e" },
	nestedBuffer: { file: { content: buffers[1], empty: buffers[0] }, list: [buffers[2]] },
	bufferForm: { file: { type: "Buffer", data: [1, 2] }, not: { type: "Buffer", data: [256] }, nor: { type: "Buffer" } },
	date: new Date(1500000000123), invalidDate: { d: new Date(NaN) },
	map: new Map([["a", 1], ["b", new Map([["c", [1]]])]]), emptyMap: new Map(), numberMap: new Map([[1, "a"], [2, "b"]]),
	mapOfOdd: new Map([["d", new Date(5)], ["b", Buffer.from("x")], ["t", "[[DT]]1"], ["s", new Set([1n])]]),
	set: new Set([1, "a", [2]]), emptySet: new Set(),
	regexes: [/a/, /a|b\/"\\/gi],
	uint8Array: { u: new Uint8Array([1, 2, 3]) },
	buffer: Buffer.from("hi"), emptyBuffer: Buffer.alloc(0), buffer70k: Buffer.alloc(300, 7),
	text: "top", escaped: "[[BF]]AAAA", number: 5, float: 0.5, nul: null, yes: true, undefined: undefined
};

const error = {
	name: "MoleculerClientError", message: "nope é \"q\"", nodeID: "n", code: 409, type: "CONFLICT", retryable: false,
	stack: "MoleculerClientError: nope\n    at x", data: { x: 1.5, y: [null], s: "[[DT]]1" }
};
const service = {
	name: "posts", version: 2, fullName: "v2.posts", settings: { limit: 10.5 }, metadata: { scalable: true },
	actions: { "v2.posts.get": { params: { id: "number|positive" }, cache: { keys: ["id"] }, rawName: "get", name: "v2.posts.get" } },
	events: { "user.*": { name: "user.*" } }
};
const info = {
	services: [service], ipList: ["192.0.2.2"], hostname: "vm",
	client: { type: "nodejs", version: "0.15.1", langVersion: "v20.20.2" }, config: {}, instanceID: "i",
	metadata: { region: "eu", big: 1e21 }, seq: 2, ...envelope
};

const packets = [
	...Object.entries(values).map(([name, value]) => ["REQ", `params ${name}`, request(value)]),
	...["text", "buffer", "emptyBuffer", "nul", "undefined", "float", "escaped", "map", "date", "nestedBuffer"].flatMap(name => [
		["RES", `data ${name}`, response(values[name])],
		["EVENT", `data ${name}`, event(values[name])]
	]),
	["REQ", "all fields", request({}, { meta: { u: [1, "é"] }, headers: { h: "1" }, timeout: 1499.371, level: 300, tracing: true,
		parentID: "p", requestID: "r", caller: "v2.c" })],
	["REQ", "chunk", request(Buffer.from("ab"), { stream: true, seq: 70000 })],
	["REQ", "end of a stream", request(null, { seq: 3 })],
	["REQ", "brackets everywhere", request("[[", { meta: { "[[": "[[MP]]" }, requestID: "[[DT]]1", caller: "[[", parentID: "[" })],
	["RES", "meta", response({ ok: 1 }, { meta: { $statusCode: 201, f: 0.5, b: Buffer.from("m") }, headers: { "[[": "[[" } })],
	["RES", "error", response(null, { success: false, error })],
	["RES", "error not resolved", response(null, { headers: null, success: false, error: { ...error, data: undefined, type: undefined } })],
	["RES", "chunk", response(Buffer.from("ab"), { stream: true, seq: 1 })],
	["RES", "object chunk", response({ a: 1 }, { stream: true, seq: 1 })],
	["RES", "end of a stream", response(null, { stream: false, seq: 3 })],
	["EVENT", "broadcast", event(undefined, { groups: undefined, broadcast: true })],
	["EVENT", "groups", event({ n: 1 }, { groups: range(1, 20, n => `g${n}`) })],
	["DISCOVER", "", { ...envelope }], ["DISCONNECT", "", { ...envelope }],
	["INFO", "", info], ["INFO", "nothing offered", { ...info, services: [] }],
	["INFO", "versions", { ...info, services: [{ ...service, version: "staging", fullName: "staging.posts" }, { ...service, version: 1.5, fullName: "v1.5.posts" }] }],
	["HEARTBEAT", "", { cpu: 17, ...envelope }], ["HEARTBEAT", "none", { cpu: null, ...envelope }], ["HEARTBEAT", "fraction", { cpu: 17.25, ...envelope }],
	["PING", "", { time: 1795248592968, id: "7", ...envelope }], ["PING", "no id", { time: 1795248592968, ...envelope }],
	["PONG", "", { time: 1795248592968, id: "7", arrived: 1795248592969.5, ...envelope }],
	["GOSSIP_HELLO", "", { host: "vm", port: 7002, ...envelope }],
	["GOSSIP_REQ", "", { online: { real: [3, 1, 100], other: [2, 0, null] }, offline: { gone: 9 }, ...envelope }],
	["GOSSIP_RES", "", { online: { real: [{ ...info, port: 7002 }, 1, 12.5], o: [1, 100], p: [info] }, offline: { gone: 9 }, ...envelope }]
];

/** Integers that a double holds are numbers, whatever they came as. */
const nearest = value => {
	if (typeof value === "bigint") {
		const number = Number(value);
		return String(number) === String(value) || BigInt(number) === value ? number : value;
	}
	if (value === null || typeof value !== "object" || Buffer.isBuffer(value)) return value;
	if (Array.isArray(value)) return value.map(nearest);
	return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, nearest(item)]));
};

/** The packet as a guest sees it; what it leaves undefined itself is there for the serializer. */
const copy = packet => {
	const own = nearest(seen(packet));
	return Object.fromEntries(Object.keys(packet).map(key => [key, own[key]]));
};

const recorded = packets.map(([kind, name, packet]) => {
	const formats = {};
	for (const [format, file] of Object.entries(serializers)) {
		const serializer = load("0.15", file);
		let bytes;
		try {
			bytes = Buffer.from(serializer.serialize({ ...packet }));
		} catch {
			continue;
		}
		const older = load("0.14", file);
		if (older && !bytes.equals(Buffer.from(older.serialize({ ...packet })))) throw new Error(`${format} ${name}: 0.14 differs`);
		const back = serializer.deserialize(bytes);
		const again = Buffer.from(serializer.serialize(copy({ ...packet, ...back })));
		formats[format] = { bytes: bytes.toString("hex"), text: text(seen(back)), again: again.equals(bytes) ? undefined : again.toString("hex") };
	}
	return { kind, name, formats };
});

const file = path.join(__dirname, "serializers.json");
fs.writeFileSync(file, "[\n" + recorded.map(item => JSON.stringify(item)).join(",\n") + "\n]\n");
console.log(`${recorded.length} packets`);
