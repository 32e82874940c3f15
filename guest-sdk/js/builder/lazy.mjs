// Large packages of the SDK as texts that are compiled when they are first used.
//
// The engine keeps for each function its text and its code, and what it wrote on the way, so a compiled package
// takes about eight times the room of its text, in every component, also in those that never use it. The texts lie
// in a table beside the bundle (`__isomerTexts`): each function around them would keep one more copy.

const LAZY = new Set([
	"abort-controller",
	"assert",
	"buffer",
	"core-js-pure/stable/structured-clone",
	"core-js-pure/stable/url",
	"core-js-pure/stable/url-search-params",
	"event-target-shim",
	"events",
	"fastest-validator",
	"querystring",
	"readable-stream",
	"string_decoder",
	"url",
	"util"
]);

/** Packages that the SDK changes, and the files that do it. */
const CHANGED = { buffer: "./src/node/buffer.cjs" };

const NAMESPACE = "isomer-lazy";

/** The name without the slash with which packages tell it from the module of Node.js. */
const plainName = name => name.replace(/\/$/, "");

/** Adds to a build that these packages are loaded late. `sdk` is the folder of their packages. */
export function addLazy(build, sdk) {
	build.onLoad({ filter: /.*/, namespace: NAMESPACE }, async args => ({
		contents: await moduleOf(build.esbuild, args.path, sdk),
		loader: "js",
		resolveDir: sdk
	}));
}

/** The path under which a package is loaded late; nothing for one that is not. */
export function lazy(name) {
	const plain = plainName(name);
	return LAZY.has(plain) ? { path: plain, namespace: NAMESPACE, sideEffects: false } : undefined;
}

const made = new Map();

async function moduleOf(esbuild, name, sdk) {
	if (!made.has(name)) made.set(name, await text(esbuild, name, sdk));
	const { code, needs } = made.get(name);
	const cases = needs.map(other => `${JSON.stringify(other)}: () => require(${JSON.stringify(other)})`);
	return `const needs = { ${cases.join(", ")} };
new Function("require", "module", "exports", __isomerTexts[${JSON.stringify(name)}])(name => needs[name](), module, exports);`;
}

/** The texts of the packages that a bundle loads late: `{name: text}`. */
export function textsOf(code) {
	const used = [...code.matchAll(/__isomerTexts(?:\.([\w$]+)|\["([^"]+)"\])/g)].map(([, plain, quoted]) => plain ?? quoted);
	return Object.fromEntries(used.filter(name => made.has(name)).map(name => [name, made.get(name).code]));
}

/** One package as the text of a CommonJS module, and the other lazy packages that it needs. */
async function text(esbuild, name, sdk) {
	const needs = new Set();
	const keepOthers = {
		name: "isomer-lazy-parts",
		setup(build) {
			build.onResolve({ filter: /^[^./]/ }, args => {
				if (args.kind === "entry-point" || args.importer === "<stdin>") return undefined;
				if (plainName(args.path) === "process") return { path: "process", namespace: "global" };
				// It asks whether Node.js has one; there is none beside it.
				if (args.path === "stream") return { path: "none", namespace: "global" };
				if (!LAZY.has(plainName(args.path)) || plainName(args.path) === name) return undefined;
				needs.add(plainName(args.path));
				return { path: plainName(args.path), external: true };
			});
			build.onLoad({ filter: /.*/, namespace: "global" }, args => ({ contents: `module.exports = globalThis.${args.path};` }));
		}
	};
	const result = await esbuild.build({
		stdin: { contents: `module.exports = require(${JSON.stringify(CHANGED[name] ?? name)});`, resolveDir: sdk },
		bundle: true,
		write: false,
		format: "cjs",
		platform: "neutral",
		target: "es2022",
		mainFields: ["main"],
		conditions: ["node"],
		define: { global: "globalThis" },
		charset: "ascii",
		legalComments: "none",
		minify: true,
		logLevel: "silent",
		plugins: [keepOthers]
	});
	return { code: result.outputFiles[0].text, needs: [...needs] };
}
