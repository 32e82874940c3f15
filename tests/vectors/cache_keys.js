"use strict";
// Records the cache keys that the real Moleculer makes of params, meta, headers and the options of an action.
// Usage: node tests/vectors/cache_keys.js > tests/vectors/cache_keys.json
// `params` is the JSON text as it would come from the wire, so that odd numbers and the order of properties
// stay as they are; without it the params are undefined. `buffer` stands for params that are a Buffer.

const path = require("node:path");
const { Cachers } = require(path.join(__dirname, "../peers/node_modules/moleculer-0.15"));

const paramsTexts = [
	undefined, "null", "true", "false", "0", "-0", "-0.0", "1", "-1", "1.0", "1.50", "0.1", "0.30000000000000004", "1e21", "1e20",
	"123456789012345680000", "1e-6", "1e-7", "1.5e-9", "-1.25e+30", "5e-324", "1.7976931348623157e308", "9007199254740991",
	"9007199254740992", "9007199254740993", "-9007199254740993", "18446744073709551615", "18446744073709551616",
	"0.000001", "0.0000012", "100", "1e2", "4.35", "2.5e15", "1234.5678e10", "\"\"", "\"a\"", "\"a|b\"", "\"é😀\"", "\"\\n\\u0000\"",
	"[]", "[1]", "[1,\"x\",null,{\"z\":1}]", "[[],[[]]]", "[{},{\"a\":1}]",
	"{}", "{\"id\":5}", "{\"id\":\"5\"}", "{\"id\":null}", "{\"b\":1,\"a\":2}", "{\"b\":1,\"a\":2,\"b\":3}",
	"{\"10\":1,\"2\":2,\"b\":3,\"1\":4}", "{\"a\":1,\"01\":2,\"1\":3,\"-1\":4,\"1.5\":5,\"4294967294\":6,\"4294967295\":7,\"0\":8}",
	"{\"a\":null,\"c\":true,\"d\":1.5}", "{\"a\":{\"b\":{\"c\":5}},\"e\":{}}", "{\"a\":[1,2],\"b\":\"s\"}",
	"{\"a\":{\"2\":\"x\",\"1\":\"y\"},\"list\":[{\"id\":1},{\"id\":2}]}", "{\"\":1}", "{\"a.b\":1,\"a\":{\"b\":2}}", "{\"a\":{\"b.c\":1}}",
	"{\"a|b\":\"c|d\"}", "{\"limit\":10,\"page\":2}", "{\"limit\":10,\"page\":2,\"sort\":[\"-a\",\"b\"],\"query\":{\"status\":true}}",
	"{\"text\":\"abc\",\"é\":\"ü\"}", "{\"#x\":1,\"@y\":2}", "{\"date\":\"2020-01-01T00:00:00.000Z\"}",
	JSON.stringify({ q: "x".repeat(100) }), JSON.stringify({ q: "x".repeat(100), l: 1 }), JSON.stringify({ q: "é".repeat(30), l: ["y".repeat(60)] }),
	JSON.stringify({ q: "😀".repeat(20), l: { a: "z".repeat(44) } }), JSON.stringify({ q: "x".repeat(39) }), JSON.stringify({ q: "x".repeat(40) })
];

const keysList = [
	undefined, [], ["id"], ["nope"], ["id", "nope"], ["a"], ["b", "a"], ["a.b"], ["a.b.c"], ["a.b", "id"], ["a[0]"], ["a.0"], ["a[1]", "b"],
	["list[1].id"], ["list.0.id"], ["list.length"], ["text.length"], ["text.1"], ["text[2]"], ["a['b.c']"], ["a[\"b.c\"]"], [""], ["a."], [".a"],
	["limit", "page"], ["limit", "#user.id"], ["#user.id"], ["#user"], ["limit", "#user"], ["#none"], ["id", "@hdr"], ["@hdr"], ["@deep.x"],
	["@none"], ["#x"], ["@y"], ["q"], ["q", "l"], ["l", "q"], ["query.status"], ["query"], ["query", "limit", "page"], ["0"], ["length"], ["é"], ["a|b"],
	["a]"], ["a[b"], ["10"], ["01", "1"]
];

// Values without parts are asked with a few of them only.
const fewKeys = [undefined, [], ["id"], ["length"], ["0"], ["1", "#x"]];

const contexts = [
	{ meta: {}, headers: {} },
	{ meta: { user: { id: 7, n: "x" }, x: [1, { y: null }] }, headers: { hdr: "H", deep: { x: 1.5 } } }
];

/** The key as it reaches Redis (a cut may leave half of a character), without the name of the action. */
const make = (max, params, keys, { meta, headers }) => {
	const cacher = new Cachers.Memory({ maxParamsLength: max });
	clearInterval(cacher.timer);
	const key = cacher.getCacheKey({ name: "posts.find" }, { keys }, { params, meta, headers });
	return Buffer.from(key).toString().slice("posts.find".length);
};

/** One line: params, which context, and the key that each list of keys (and limit of the length) makes. */
const vector = (given, params, context, lists) => {
	const plain = lists.map(keys => ({ keys, key: make(undefined, params, keys, contexts[context]) }));
	const hashed = [];
	for (const max of [10, 43, 44, 45, 60])
		for (const keys of [undefined, ["q"], ["q", "l"]]) {
			const key = make(max, params, keys, contexts[context]);
			if (key !== make(undefined, params, keys, contexts[context])) hashed.push({ max, keys, key });
		}
	return JSON.stringify({ ...given, context, results: [...plain, ...hashed] });
};

const lines = [];
paramsTexts.forEach((text, index) => {
	const params = text === undefined ? undefined : JSON.parse(text);
	const lists = params !== null && typeof params === "object" ? keysList : fewKeys;
	lines.push(vector({ params: text }, params, index % 2, lists));
});
for (const bytes of [[], [1, 2, 255]]) lines.push(vector({ buffer: bytes }, Buffer.from(bytes), 0, [undefined, [], ["id"]]));
const meta = [["limit", "#user.id"], ["#user"], ["@hdr", "#x"], ["#x[1].y"], ["#x.length"], ["#"], ["@"], ["#user.n.length", "@deep"]];
for (const context of [0, 1]) lines.push(vector({ params: "{\"limit\":10}" }, { limit: 10 }, context, meta));

process.stdout.write(`{\n\t"contexts": ${JSON.stringify(contexts)},\n\t"vectors": [\n`);
process.stdout.write(lines.map(line => "\t\t" + line).join(",\n") + "\n\t]\n}\n");
