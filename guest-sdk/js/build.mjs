#!/usr/bin/env node
// Builds a Moleculer service file into a component: node build.mjs FILE -o OUT.wasm [options]
//
// The steps: bundle (esbuild), description under Node.js (so that mistakes show here), component (QuickJS).
// Progress and errors go to stderr; exit codes are 0 done, 1 tried and failed, 2 wrong use.

import fs from "node:fs";
import path from "node:path";
import { parseArgs } from "node:util";

/** What the SDK imports of its world (wit/guest.wit). */
const HOST = [
	...["broker-async", "cacher-async", "config", "logger", "timers", "tracing-async"].map(name => `isomer:service/${name}@0.1.0`),
	"wasi:cli/environment@0.2.0",
	"wasi:random/random@0.2.0"
];

const USAGE = `Usage: node build.mjs FILE -o OUT.wasm [--json] [--stub MODULE]… [--small] [--wit DIR] [--bundle FILE]

  FILE           the service: .js, .mjs, .cjs, .ts, .mts or .cts
  -o OUT.wasm    the component
  --json         print the result as one line of JSON on stdout
  --stub MODULE  let the service import this module, and fail when it uses it (also: "isomer": {"stub": […]} in package.json)
  --small        a smaller, slower engine
  --wit DIR      Isomer's WIT package, when it does not lie beside the SDK
  --bundle FILE  also write the bundle, to look at it`;

class Mistake extends Error {}

function options() {
	const { values, positionals } = parseArgs({
		allowPositionals: true,
		options: {
			output: { type: "string", short: "o" },
			json: { type: "boolean" },
			stub: { type: "string", multiple: true, default: [] },
			small: { type: "boolean" },
			wit: { type: "string" },
			bundle: { type: "string" },
			help: { type: "boolean", short: "h" }
		}
	});
	if (values.help) return { help: true };
	if (positionals.length !== 1) throw new TypeError("name one service file");
	if (!values.output) throw new TypeError("say with -o where the component goes");
	return { ...values, entry: path.resolve(positionals[0]) };
}

const say = text => process.stderr.write(`${text}\n`);

async function build(given) {
	const { entry } = given;
	if (!fs.existsSync(entry)) throw new Mistake(`${entry}: there is no such file`);
	const begun = Date.now();
	const { bundle, SDK } = await import("./builder/bundle.mjs");
	const { check } = await import("./builder/check.mjs");
	const { linesOf } = await import("./builder/lines.mjs");
	const { lookUp } = await import("./src/runtime/stack.js");
	const { projectOf } = await import("./builder/project.mjs");
	const { makeComponent } = await import("./builder/component.mjs");
	const esbuild = await import("esbuild");

	const project = projectOf(entry);
	const stubs = new Set([...project.stubs, ...given.stub]);
	const shared = { esbuild, entry, folder: project.folder, moleculer: project.moleculer, stubs };
	say(`bundling     ${path.relative(process.cwd(), entry)}`);
	const trial = await bundle({ ...shared, check: true });
	const keep = file => (file.startsWith(SDK) || !fs.existsSync(file) ? null : path.relative(project.folder, file));
	const { schema, warnings } = described(trial, entry, check, lookUp, () => linesOf(trial.map, path.dirname(entry), keep));
	for (const warning of warnings) say(`warning      ${warning}`);

	const { code, map, texts } = await bundle(shared);
	const lines = JSON.stringify(linesOf(map, path.dirname(entry), keep));
	const whole = moduleOf(code, lines, texts);
	if (given.bundle) fs.writeFileSync(given.bundle, whole);
	say(`component    ${given.output}`);
	const component = await makeComponent({ code: whole, wit: given.wit, small: given.small });
	put(given.output, component);
	return { output: given.output, bytes: component.length, bundle: whole.length, ms: Date.now() - begun, schema, warnings };
}

/** The module that the engine is given: it has the imports of the world, and runs the bundle as a script. */
function moduleOf(code, lines, texts) {
	const imports = HOST.map((name, index) => `import h${index} from ${JSON.stringify(name)};`);
	const hosts = HOST.map((name, index) => `${JSON.stringify(name)}:h${index}`);
	return `${imports.join("\n")}
globalThis.__host = {${hosts}};
globalThis.__isomerTexts = ${JSON.stringify(texts)};
(0, eval)(${JSON.stringify(code)});
globalThis.__isomerLines = ${lines};
export const handlerAsync = globalThis.__isomer.handlerAsync;
${scrub(code.length + Object.values(texts).join("").length)}
`;
}

/**
 * Code that fills the memory which the engine has freed with zeros: the component holds all of its memory but
 * zeros, and what is left of the copies of the source is a fifth of it.
 */
function scrub(length) {
	const blocks = [[65536, Math.ceil((8 * length) / 65536)], [16384, Math.ceil((2 * length) / 16384)], [2048, 200]];
	return `{for(const [size,count] of ${JSON.stringify(blocks)}){const held=[];for(let i=0;i<count;i++)held.push(new ArrayBuffer(size))}}`;
}

/** What the service says of itself; what it throws is told with the line of the user's file. */
function described(trial, entry, check, lookUp, lines) {
	try {
		return check(trial, "user.js");
	} catch (error) {
		const frames = [...(error.stack ?? "").matchAll(/user\.js:(\d+):(\d+)/g)];
		const places = frames.map(([, line, column]) => lookUp(lines(), Number(line), Number(column)));
		const place = places.find(Boolean) ?? path.basename(entry);
		throw new Mistake(`${place}: ${error.name}: ${error.message}`);
	}
}

/** Whole or not at all: a node may be watching the folder. */
function put(file, bytes) {
	const part = path.join(path.dirname(file), `.${path.basename(file)}.part`);
	fs.mkdirSync(path.dirname(path.resolve(file)), { recursive: true });
	fs.writeFileSync(part, bytes);
	fs.renameSync(part, file);
}

/** One of esbuild's messages as people read it: place, what is wrong, what to do. */
function messageOf({ text, location, notes }) {
	const place = location ? `${location.file}:${location.line}:${location.column + 1}: ` : "";
	const package_ = /^Could not resolve "([^"./][^"]*)"/.exec(text);
	const hints = package_
		? [`Run: npm install ${package_[1].split("/").slice(0, package_[1].startsWith("@") ? 2 : 1).join("/")}`]
		: notes.map(note => note.text);
	return [`${place}${text}`, ...hints.map(hint => `  ${hint}`)].join("\n");
}

function report(result, json) {
	if (json) {
		console.log(JSON.stringify(result));
		return;
	}
	const { schema, bytes, ms } = result;
	const version = schema.version === undefined ? "" : ` (version ${schema.version})`;
	say(`size         ${(bytes / 1e6).toFixed(2)} MB in ${(ms / 1000).toFixed(1)} s`);
	say(`service      ${schema.name}${version}`);
	for (const name of Object.keys(schema.actions)) say(`action       ${name}`);
	for (const name of Object.keys(schema.events)) say(`event        ${name}`);
}

async function main() {
	let given;
	try {
		given = options();
	} catch (error) {
		say(`build: ${error.message}\n\n${USAGE}`);
		return 2;
	}
	if (given.help) {
		console.log(USAGE);
		return 0;
	}
	try {
		report(await build(given), given.json);
		return 0;
	} catch (error) {
		const texts = error.errors ? error.errors.map(messageOf) : [error instanceof Mistake ? error.message : error.stack];
		if (given.json) console.log(JSON.stringify({ errors: texts }));
		else for (const text of texts) say(`error: ${text}`);
		return 1;
	}
}

process.exitCode = await main();
