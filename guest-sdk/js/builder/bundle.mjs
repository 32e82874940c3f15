// Bundles the user's file with the SDK into one module, with esbuild.
//
// What the file imports of Node.js is replaced, `moleculer` is the SDK's, and what cannot be in a component is
// refused here, with the file that imports it and what to do.

import fs from "node:fs/promises";
import path from "node:path";
import { fileURLToPath } from "node:url";

import { isBuiltin, mend, replacement } from "./builtins.mjs";
import { addLazy, lazy, textsOf } from "./lazy.mjs";

export const SDK = fileURLToPath(new URL("..", import.meta.url));

const PACKAGES = path.join(SDK, "node_modules");
const SCRIPT = /\.[cm]?js$/;
const PROGRAM = "isomer-program.js";
const STUBBED = "isomer-stub";

/** Imports of `moleculer` below its top that services use. */
const MOLECULER = {
	"src/errors": "below/errors.cjs",
	"src/service": "below/service.cjs",
	"src/context": "below/context.cjs",
	"src/utils": "below/utilities.cjs"
};
/** The same, from a file that lies in Moleculer's own package (its tests and examples). */
const MOLECULER_ITSELF = /[\\/]node_modules[\\/]moleculer[\\/](src[\\/].*)$/;

/** The program around the user's file. `check` makes the one that the build runs itself (check.mjs). */
function program({ entry, moleculer, check }) {
	const file = name => JSON.stringify(path.join(SDK, name));
	const parts = `{
		moleculer: ${JSON.stringify(moleculer ?? null)} ?? undefined,
		stream: () => require("readable-stream"),
		events: () => require("events"),
		validator: () => require("fastest-validator")
	}`;
	return `
import ${file("src/globals.js")};
import { makeHost } from ${file("src/runtime/host.js")};
import { Instance, exportsOf } from ${file("src/runtime/serve.js")};
const load = () => require(${JSON.stringify(entry)});
const instance = new Instance(load, makeHost(${parts}));
${check ? "export const describe = () => instance.describe();" : "export const handlerAsync = exportsOf(instance);"}
`;
}

/** Names of the modules whose functions the node gives, not the bundle: it finds them in `__host`. */
const HOSTED = /^(isomer|wasi):/;

const fromHost = {
	name: "isomer-host",
	setup(build) {
		build.onResolve({ filter: HOSTED }, args => ({ path: args.path, namespace: "host" }));
		build.onLoad({ filter: /.*/, namespace: "host" }, args => ({
			contents: `export default __host[${JSON.stringify(args.path)}];`
		}));
	}
};

function plugin(stubs) {
	const inSdk = (build, name, kind) => lazy(name) ?? build.resolve(name, { kind, resolveDir: SDK, pluginData: "sdk" });
	return {
		name: "isomer",
		setup(build) {
			addLazy(build, SDK);
			build.onResolve({ filter: /^moleculer($|\/)/ }, args => moleculerModule(args));
			build.onResolve({ filter: /^\.\.?[\\/]/ }, args => {
				const match = MOLECULER_ITSELF.exec(path.resolve(args.resolveDir, args.path));
				return match ? moleculerModule({ path: `moleculer/${match[1].replaceAll("\\", "/")}` }) : undefined;
			});
			build.onResolve({ filter: /\.node$/ }, args => ({
				errors: [refusal(args, "Native modules cannot be in a component. Use a package in plain JavaScript.")]
			}));
			build.onResolve({ filter: /^[^./]/ }, async args => {
				if (HOSTED.test(args.path)) return undefined;
				if (args.pluginData === "sdk" || args.kind === "entry-point") return undefined;
				if (isOurs(args)) return inSdk(build, args.path, args.kind);
				if (stubs.has(args.path.replace(/^node:/, ""))) return { path: args.path, namespace: STUBBED };
				// A package may have the name of a module, such as `buffer/`, which has a slash at its end.
				if (!isBuiltin(args.path)) return undefined;
				const name = replacement(args.path);
				if (name) return inSdk(build, name, args.kind);
				return { errors: [refusal(args, mend(args.path))] };
			});
			build.onLoad({ filter: SCRIPT }, args => shrink(build.esbuild, args.path));
			build.onLoad({ filter: /.*/, namespace: STUBBED }, args => ({ contents: stub(args.path), loader: "js" }));
		}
	};
}

/** The SDK's own files build upon packages, also those with the names of modules of Node.js. */
function isOurs({ importer, namespace }) {
	return namespace === "isomer-lazy" || path.basename(importer) === PROGRAM || importer.startsWith(path.join(SDK, "src"));
}

function moleculerModule({ path: name }) {
	const below = name.slice("moleculer/".length).replace(/\.js$/, "");
	if (!below) return { path: path.join(SDK, "src/moleculer/index.js") };
	const known = MOLECULER[below];
	if (known) return { path: path.join(SDK, "src/moleculer", known) };
	return { errors: [{ text: `Cannot import ${JSON.stringify(name)}`, notes: [{ text: "Import what the service needs from 'moleculer' itself." }] }] };
}

function refusal({ path: name, importer }, text) {
	const what = name.replace(/^node:/, "");
	const hint = `If this code is never reached, build with --stub ${what}: it then fails only when it is used.`;
	return { text: `Cannot import ${JSON.stringify(name)} in a component`, notes: [{ text }, { text: hint }], detail: importer };
}

/**
 * What belongs to the SDK is minified: the engine keeps the text of each function in the component. The
 * user's files are not: their lines are shown in stacks, and names of arguments say what a handler takes.
 */
async function shrink(esbuild, file) {
	if (!file.startsWith(SDK)) return undefined;
	const text = await fs.readFile(file, "utf8");
	const isPackage = file.startsWith(PACKAGES);
	const { code } = await esbuild.transform(text, {
		loader: "js",
		target: "es2022",
		charset: "utf8",
		legalComments: "none",
		minifyWhitespace: true,
		minifySyntax: true,
		// Names of classes are names of errors.
		minifyIdentifiers: isPackage,
		keepNames: false
	});
	return { contents: code, loader: "js" };
}

/** A module whose every function fails when it is called. */
function stub(name) {
	return `
const missing = key => function () {
	throw new Error(${JSON.stringify(`'${name}' is not there in a component: `)} + key + " was called.");
};
module.exports = new Proxy(missing("it"), {
	get: (target, key) => (typeof key === "symbol" || key === "__esModule" || key === "prototype" ? target[key] : missing(key))
});`;
}


/** `{code, map, texts}` of the bundle, `texts` as in lazy.mjs. Throws esbuild's error, whose `errors` say what is wrong and where. */
export async function bundle({ esbuild, entry, folder, moleculer, stubs, check }) {
	const result = await esbuild.build({
		stdin: { contents: program({ entry, moleculer, check }), resolveDir: SDK, sourcefile: PROGRAM },
		// Places in messages are as seen from the project.
		absWorkingDir: folder,
		bundle: true,
		write: false,
		// No module of the engine: in one all code is strict, and many packages of npm are not.
		format: "iife",
		globalName: "__isomer",
		platform: "neutral",
		target: "es2022",
		mainFields: ["module", "main"],
		conditions: ["node"],
		loader: { ".node": "empty", ".txt": "text", ".html": "text", ".graphql": "text", ".pem": "text" },
		keepNames: true,
		minifyWhitespace: !check,
		// One other character would make the engine keep the whole text with two bytes for each.
		charset: "ascii",
		legalComments: "none",
		sourcemap: "external",
		sourcesContent: false,
		outfile: path.join(path.dirname(entry), "isomer-bundle.js"),
		logLevel: "silent",
		define: { "import.meta.url": '"file:///service.js"', __filename: '"/service.js"', __dirname: '"/"' },
		inject: ["url", "clone", "abort"].map(name => path.join(SDK, `src/inject/${name}.js`)),
		plugins: [fromHost, plugin(stubs)]
	});
	const text = ending => result.outputFiles.find(file => file.path.endsWith(ending)).text;
	const code = text(".js");
	return { code, map: JSON.parse(text(".js.map")), texts: textsOf(code), warnings: result.warnings };
}
