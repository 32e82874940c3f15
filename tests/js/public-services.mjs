// Builds services that others have published on npm, runs them on a node and under Moleculer, compares what
// they answer, and writes the table of docs/javascript.md.
//
// Usage: node public-services.mjs [--isomer FILE] [--keep DIR] [--only WORD]
//
// With `--keep` what was fetched and built stays in that folder, and is used again as long as the SDK is the same.
// With `--only` only the packages with this word in their name are tried, and nothing is written. Versions are
// pinned. Nothing that is downloaded stays in the repository. It ends with 1 when something differs.

import { execFileSync, spawn } from "node:child_process";
import { createHash } from "node:crypto";
import fs from "node:fs";
import { createRequire } from "node:module";
import os from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { isDeepStrictEqual, parseArgs } from "node:util";

const TOP = fileURLToPath(new URL("../..", import.meta.url));
const PAGE = path.join(TOP, "docs/javascript.md");
const { ServiceBroker } = createRequire(path.join(TOP, "tests/peers/package.json"))("moleculer-0.15");

const { values: given } = parseArgs({
	options: { isomer: { type: "string" }, keep: { type: "string" }, only: { type: "string" } }
});
const isomer = path.resolve(given.isomer ?? path.join(TOP, "target/debug/isomer"));
const keep = given.keep ? path.resolve(given.keep) : null;

/** Most that the compiler may take for one of them: some are larger than a whole JavaScript engine. */
const COMPILE_MS = 1_800_000;

/** A mixin becomes a service as its README shows. */
const withMixin = (name, mixin, more = "") => `module.exports = { name: "${name}", mixins: [require("${mixin}")]${more} };`;

/**
 * `calls`: [action, params, compare, meta]; without `compare` the results have to be the same. `as` is the file
 * that is built, made of `text` or of `file` with what `change` says.
 */
const SERVICES = [
	{ from: "moleculer@0.13.0", file: "test/services/math.service.js", calls: [["math.add", { a: 2, b: 3 }], ["math.mult", { a: 2, b: 3 }], ["math.mult", { a: "x", b: 3 }], ["math.div", { a: 1, b: 0 }]] },
	{ from: "moleculer@0.13.0", file: "test/services/greeter.es6._ervice.js", calls: [["v2.greeter.hello", {}], ["v2.greeter.welcome", { name: "ada" }]] },
	{ from: "moleculer@0.13.0", file: "test/services/users.service.js", with: ["fakerator@0.3.0", "bluebird@3.7.2", "lodash@4.17.21"], calls: [["users.get", { id: 2 }, "kind"], ["users.find", {}, "kind"], ["users.dangerous", {}]] },
	{ from: "moleculer@0.13.0", file: "test/services/posts.service.js", with: ["fakerator@0.3.0", "bluebird@3.7.2", "lodash@4.17.21"], calls: [["posts.find", {}, "kind"], ["posts.get", { id: 3 }, "kind"], ["posts.author", { id: 3 }, "kind"]] },
	{ from: "moleculer@0.13.0", file: "test/services/utils/util.service.js", calls: [] },
	{ from: "moleculer@0.13.0", file: "test/unit/__factories/my.service.js", calls: [] },
	{ from: "moleculer-cli@0.8.2", file: "src/create/service/javascript.template", as: "made.service.js", change: [["{{serviceName}}", "made"]], calls: [["made.test", {}]] },
	{ from: "moleculer-fake@1.0.18", file: "src/index.js", calls: [["fake.name", {}, "kind"], ["fake.email", {}, "kind"], ["fake.number", { min: 5, max: 6 }, "kind"]] },
	{ from: "moleculer-db@0.9.0", stub: ["fs"], as: "articles.service.js", text: withMixin("articles", "moleculer-db", ', settings: { fields: ["_id", "title", "votes"], entityValidator: { title: "string" } }'), calls: [["articles.insert", { entity: { _id: "a1", title: "one", votes: 1 } }], ["articles.create", { _id: "a2", title: "two", votes: 2 }], ["articles.find", { sort: "title", query: { votes: { $gt: 0 } } }], ["articles.get", { id: "a1" }], ["articles.get", { id: "none" }], ["articles.update", { id: "a2", votes: 5 }], ["articles.list", { sort: "-votes", pageSize: 1 }], ["articles.count", {}], ["articles.create", { title: 5 }], ["articles.remove", { id: "a1" }]] },
	{ from: "moleculer-mail@2.0.0", file: "src/index.js", calls: [] },
	{ from: "moleculer-cron@0.0.2", stub: ["child_process"], as: "timetable.service.js", text: withMixin("timetable", "moleculer-cron", ', actions: { jobs() { return this.settings === undefined ? 0 : 1; } }'), calls: [["timetable.jobs", {}]] },
	{ from: "moleculer-auto-openapi@1.1.7", stub: ["fs"], as: "openapi.service.js", text: withMixin("openapi", "moleculer-auto-openapi"), calls: [] },
	{ from: "moleculer-decorators@1.3.0", file: "test/services/get.service.ts", as: "get.service.ts", change: [["../../src", "moleculer-decorators"]], extra: { "tsconfig.json": '{"compilerOptions":{"experimentalDecorators":true}}' }, calls: [["GetTest.getModel", { withUser: "x" }, undefined, { user: { id: "1" } }]] },
	{ from: "moleculer-web@0.11.0", as: "gateway.service.js", text: withMixin("gateway", "moleculer-web"), calls: [] }
];

const npm = (cwd, ...args) => execFileSync("npm", [...args, "--no-audit", "--no-fund", "--loglevel=error"], { cwd, stdio: ["ignore", "ignore", "inherit"] });

/** A folder with the package (and what it needs), and the file of the service in it. */
function fetched(service, root) {
	const name = `${service.from}-${path.basename(service.file ?? service.as)}`.replace(/[^\w.-]/g, "_");
	const folder = path.join(root, name);
	fs.mkdirSync(folder, { recursive: true });
	if (!fs.existsSync(path.join(folder, "package.json"))) {
		fs.writeFileSync(path.join(folder, "package.json"), '{"private":true}');
		npm(folder, "install", "--ignore-scripts", "--legacy-peer-deps", "--save-exact", service.from, ...(service.with ?? []));
	}
	const [package_] = service.from.split(/(?!^)@/);
	// What is a peer dependency of all of them.
	const moleculer = path.join(folder, "node_modules/moleculer");
	if (!fs.existsSync(moleculer)) fs.symlinkSync(path.join(TOP, "tests/peers/node_modules/moleculer-0.15"), moleculer);
	const entry = service.as ? path.join(folder, service.as) : path.join(folder, "node_modules", package_, service.file);
	if (service.as) {
		let text = service.text ?? fs.readFileSync(path.join(folder, "node_modules", package_, service.file), "utf8");
		for (const [from, to] of service.change ?? []) text = text.replaceAll(from, to);
		fs.writeFileSync(entry, text);
		for (const [file, content] of Object.entries(service.extra ?? {})) fs.writeFileSync(path.join(folder, file), content);
	}
	return { name, entry };
}

/** What tells one state of the SDK from another. */
function sdkKey() {
	const hash = createHash("sha256");
	const folders = [path.join(TOP, "guest-sdk/js"), path.join(TOP, "wit")];
	for (const folder of folders) {
		for (const file of fs.readdirSync(folder, { recursive: true, withFileTypes: true })) {
			if (!file.isFile() || file.parentPath.includes("node_modules")) continue;
			hash.update(file.name).update(fs.readFileSync(path.join(file.parentPath, file.name)));
		}
	}
	return hash.digest("hex");
}

/** What the builder said; from the last run, when that was with the same SDK and sources. */
function built(entry, output, stubs = []) {
	const more = stubs.flatMap(stub => ["--stub", stub]);
	const key = createHash("sha256").update(sdkKey()).update(fs.readFileSync(entry)).update(more.join()).digest("hex");
	const note = `${output}.json`;
	const known = fs.existsSync(note) ? JSON.parse(fs.readFileSync(note, "utf8")) : {};
	if (known.key === key) return known.told;
	fs.rmSync(output, { force: true });
	let told;
	try {
		const text = execFileSync("node", [path.join(TOP, "guest-sdk/js/build.mjs"), entry, "-o", output, "--json", ...more], { encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] });
		told = JSON.parse(text);
	} catch (error) {
		told = JSON.parse(error.stdout || '{"errors":["it ended without a word"]}');
	}
	fs.writeFileSync(note, JSON.stringify({ key, told }));
	return told;
}

/** What a call answers, in a form that can be compared. */
// A component has one "none": what is null under Moleculer is missing then.
const present = fields => Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== null && value !== undefined));
const plain = value => (value === undefined ? undefined : JSON.parse(JSON.stringify(value)));
const wrong = ({ name, code, type, message, data }) => ({ error: plain(present({ name, code, type, message, data })) });

function onNode(folder, action, params, meta) {
	try {
		const text = execFileSync(isomer, ["call", action, JSON.stringify(params), "--json", "--meta", JSON.stringify(meta), "--socket", path.join(folder, "node.sock")], { encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] });
		return { value: text.trim() === "" ? undefined : JSON.parse(text) };
	} catch (error) {
		const text = `${error.stdout}${error.stderr}`;
		const line = text.split("\n").find(part => part.trimStart().startsWith("{"));
		return line ? wrong(JSON.parse(line)) : { error: text };
	}
}

/** Items of a failed validation name the node that found them. */
const withoutNode = outcome => JSON.parse(JSON.stringify(outcome, (key, value) => (key === "nodeID" ? undefined : value)));

const kind = value => (Array.isArray(value) ? value.slice(0, 1).map(kind) : value && typeof value === "object" ? Object.keys(value).sort() : typeof value);

function same(ours, theirs, how) {
	if (how === "kind" && "value" in ours && "value" in theirs) return isDeepStrictEqual(kind(ours.value), kind(theirs.value));
	return isDeepStrictEqual(withoutNode(ours), withoutNode(theirs));
}

function transpiled(entry) {
	const esbuild = createRequire(path.join(TOP, "guest-sdk/js/package.json"))("esbuild");
	const output = entry.replace(/\.ts$/, ".cjs");
	const moleculer = path.join(TOP, "tests/peers/node_modules/moleculer-0.15");
	esbuild.buildSync({ entryPoints: [entry], outfile: output, format: "cjs", platform: "node", bundle: true, alias: { moleculer }, packages: "bundle" });
	return createRequire(output)(output).default;
}

/** A broker of Moleculer with those services that it can load, which is said in `row.compared`. */
async function underMoleculer(rows) {
	const broker = new ServiceBroker({ logger: false });
	for (const row of rows) {
		try {
			// Node.js cannot load TypeScript: what it exports is taken from esbuild.
			const schema = row.entry.endsWith(".ts") ? transpiled(row.entry) : createRequire(row.entry)(row.entry);
			const made = typeof schema === "function" && !schema.prototype?.parseServiceSchema ? schema(broker) : schema;
			if (made.parseServiceSchema === undefined) broker.createService(made);
			row.compared = true;
		} catch (error) {
			console.error(`${row.service.from}: Moleculer does not load it: ${error.message.split("\n")[0]}`);
		}
	}
	await broker.start();
	return broker;
}

async function main() {
	const root = keep ?? fs.mkdtempSync(path.join(os.tmpdir(), "public-services-"));
	const components = path.join(root, "components");
	fs.mkdirSync(components, { recursive: true, mode: 0o700 });
	const rows = [];
	const wanted = SERVICES.filter(service => !given.only || service.from.includes(given.only));
	for (const service of wanted) {
		const { name, entry } = fetched(service, root);
		const result = built(entry, path.join(components, `${name}.wasm`), service.stub);
		console.error(`${name}: ${result.errors ? result.errors[0] : `${(result.bytes / 1e6).toFixed(1)} MB`}`);
		rows.push({ service, entry, ...result });
	}
	// A folder with those of this run alone: what an earlier one has kept is not asked for.
	const served = path.join(root, "served");
	fs.rmSync(served, { recursive: true, force: true });
	for (const folder of [served, path.join(root, "cache")]) fs.mkdirSync(folder, { recursive: true, mode: 0o700 });
	for (const { output } of rows.filter(row => !row.errors)) fs.copyFileSync(output, path.join(served, path.basename(output)));
	const settings = [`controlSocket=${path.join(root, "node.sock")}`, `compile.timeout=${COMPILE_MS}`, `cacheDir=${path.join(root, "cache")}`];
	const node = spawn(isomer, ["start", served, ...settings.flatMap(setting => ["--set", setting])], { cwd: root, stdio: ["ignore", "pipe", "pipe"] });
	const unusable = failures(node);
	const broker = await underMoleculer(rows.filter(row => !row.errors && row.service.calls.length > 0));
	try {
		await ready(node);
		for (const row of rows.filter(row => !row.errors)) {
			row.unusable = unusable.get(path.basename(row.output));
			if (!row.unusable) await compare(row, root, broker);
		}
	} finally {
		node.kill("SIGTERM");
		await broker.stop();
		if (!keep) fs.rmSync(root, { recursive: true, force: true });
	}
	if (!given.only) write(rows);
	for (const row of rows) console.log(`${row.service.from} ${row.service.file ?? ""}: ${outcome(row)}`);
	if (rows.some(row => row.differs?.length > 0)) process.exitCode = 1;
}

/** What the node says of files that it cannot use: name of the file → why. */
function failures(node) {
	const found = new Map();
	let text = "";
	node.stderr.setEncoding("utf8").on("data", data => {
		text += data;
		const lines = text.split("\n");
		text = lines.pop();
		for (const line of lines) {
			const [, file, why] = /cannot be used as a service file=(\S+) error=(.*)/.exec(line) ?? [];
			if (file) found.set(path.basename(file), why);
			if (!/ INFO /.test(line)) console.error(line);
		}
	});
	return found;
}

function ready(node) {
	return new Promise((resolve, reject) => {
		let text = "";
		node.stdout.on("data", data => {
			text += data;
			if (/^try  /m.test(text)) resolve();
		});
		node.on("exit", () => reject(new Error(`the node ended:\n${text}`)));
	});
}

async function compare(row, root, broker) {
	row.same = 0;
	row.differs = [];
	for (const [action, params, how, meta = {}] of row.service.calls) {
		const ours = onNode(root, action, params, meta);
		const theirs = row.compared ? await broker.call(action, params, { meta: { ...meta } }).then(value => ({ value: plain(value) }), wrong) : ours;
		if (same(ours, theirs, how)) row.same += 1;
		else row.differs.push({ action, ours, theirs });
	}
	for (const { action, ours, theirs } of row.differs) {
		console.error(`${row.schema.name}: ${action}\n  node      ${JSON.stringify(ours)}\n  Moleculer ${JSON.stringify(theirs)}`);
	}
}

/** A refusal of the builder in a few words: the files and what they import, and what to do about it. */
function refusal(errors) {
	const impossible = errors.filter(text => text.includes(" in a component"));
	const shown = (impossible.length > 0 ? impossible : errors).slice(0, 3);
	const imports = shown.map(text => {
		const [first] = text.split("\n");
		const [, file, name] = /^(?:.*node_modules\/|(?:\.\.\/)*)(.*?):\d+:\d+: .*?"([^"]+)"/.exec(first) ?? [null, "", first];
		return file ? `${file} imports \`${name}\`` : name;
	});
	const mends = new Set(shown.map(text => text.split("\n")[1]?.trim()).filter(Boolean));
	return `refused: ${imports.join(", ")}. ${[...mends].join(" ")}`.trim();
}

function outcome({ errors, unusable, schema, differs, same: count, service, compared }) {
	if (errors) return refusal(errors);
	if (unusable) return `builds; does not start: ${unusable.replaceAll("|", "\\|")}`;
	if (differs.length > 0) return `differs in ${differs.map(({ action }) => `\`${action}\``).join(", ")}`;
	const named = `\`${schema.name}\` runs${service.stub ? `, built with \`--stub ${service.stub.join(" --stub ")}\`` : ""}`;
	if (service.calls.length === 0) return named;
	return compared ? `${named}; ${count} of ${service.calls.length} calls as under Moleculer` : `${named}; Moleculer 0.15 does not load it`;
}

function write(rows) {
	const lines = rows.map(row => {
		const { service } = row;
		const size = row.bytes ? `${(row.bytes / 1e6).toFixed(1)} MB` : "";
		return `| ${service.from} | ${service.file ?? "as its README shows"} | ${outcome(row)} | ${size} |`;
	});
	const table = ["| package | file | result | size |", "|---|---|---|---|", ...lines].join("\n");
	const page = fs.readFileSync(PAGE, "utf8");
	const marks = /(<!-- public services: begin -->\n)[\s\S]*(\n<!-- public services: end -->)/;
	fs.writeFileSync(PAGE, page.replace(marks, (_, begin, end) => begin + table + end));
}

await main();
