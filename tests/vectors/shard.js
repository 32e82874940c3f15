"use strict";
// Records which node the real ShardStrategy of Moleculer picks: rings of several sizes, and keys of every kind
// in params and meta. Usage: node tests/vectors/shard.js > tests/vectors/shard.json
// `null` stands for "no key: any node".

const path = require("node:path");
const { Strategies } = require(path.join(__dirname, "../peers/node_modules/moleculer-0.15"));

const broker = { localBus: { on() {} } };

/** What the strategy picks; without a key it would draw a number, and that is told as null. */
function pick(options, nodes, ctx) {
	const strategy = new Strategies.Shard({}, broker, { ...options });
	const list = nodes.map(id => ({ id }));
	if (strategy.getKeyFromContext(ctx) == null) return null;
	return strategy.select(list, ctx).id;
}

const names = n => Array.from({ length: n }, (_, i) => `node-${i + 1}`);
const meshes = [
	names(1), names(2), names(3), names(7), names(12),
	["b", "a"], ["node-10", "node-9", "node-1"], ["Z", "a", "B"], ["ü", "z", "日本", "😀", "\uff5e"], ["x-1", "x-1", "x-2"]
];
const rings = [{}, { vnodes: 1 }, { vnodes: 3 }, { vnodes: 100 }, { ringSize: 100 }, { ringSize: 7, vnodes: 5 }, { ringSize: 1 },
	{ ringSize: 4294967296 }, { ringSize: 1e12 }, { ringSize: 0 }, { ringSize: 1000, vnodes: 3 }];
const keys = [...Array.from({ length: 40 }, (_, i) => `key-${i}`), "", " ", "0", "ü", "😀", "a".repeat(1000), "null", "undefined"];

const ringCases = rings.flatMap(options =>
	meshes.map(nodes => ({
		options,
		nodes,
		picks: keys.map(key => pick({ ...options, shardKey: "k" }, nodes, { params: { k: key }, meta: {} }))
	}))
);

// What is a key, and where it is found.
const values = [
	0, 1, -1, 42, 1.5, 0.1, 1e20, 1e21, 1.5e22, -1e21, 1e-6, 1e-7, 123456789012345680000, 9007199254740993, 1e300, -0,
	true, false, "", "x", "1", [], [1], [1, 2], ["a", null, ["b", [3]]], [{}], {}, { a: 1 }, null
];
const paths = [
	["id", { id: 5 }, {}], ["user.id", { user: { id: "u1" } }, {}], ["user.id", { "user.id": "flat", user: { id: "deep" } }, {}],
	["user.id", { user: null }, {}], ["user.id", { user: "text" }, {}], ["user.id", {}, {}], ["items[1].id", { items: [{ id: 1 }, { id: 2 }] }, {}],
	["items.1.id", { items: [{ id: 1 }, { id: 2 }] }, {}], ["items[7]", { items: [1] }, {}], ["items[0][1]", { items: [["a", "b"]] }, {}],
	["items", { items: [1, 2] }, {}], ['["odd key"]', { "odd key": 3 }, {}], ["a['b.c'].d", { a: { "b.c": { d: 9 } } }, {}],
	["#user", {}, { user: "m" }], ["#user.id", { user: { id: "p" } }, { user: { id: "m" } }], ["#user.id", {}, { "user.id": "flat" }],
	["#user", { user: "p" }, {}], ["#", {}, { "": "empty" }], ["k", [1, 2], {}], ["1", ["a", "b"], {}], ["k", "text", {}], ["k", 5, {}], ["k", null, {}]
];
const nodes = names(5);
const keyCases = [
	...values.map(value => ({ shardKey: "k", params: { k: value }, meta: {} })),
	...paths.map(([shardKey, params, meta]) => ({ shardKey, params, meta })),
	{ shardKey: null, params: { k: 1 }, meta: {} },
	{ shardKey: "", params: { "": 1 }, meta: {} }
].map(item => ({ ...item, node: pick({ shardKey: item.shardKey }, nodes, item) }));

const lines = items => items.map(item => "\t\t" + JSON.stringify(item)).join(",\n");
process.stdout.write(
	`{\n\t"keys": ${JSON.stringify(keys)},\n\t"rings": [\n${lines(ringCases)}\n\t],\n` +
		`\t"nodes": ${JSON.stringify(nodes)},\n\t"contexts": [\n${lines(keyCases)}\n\t]\n}\n`
);
