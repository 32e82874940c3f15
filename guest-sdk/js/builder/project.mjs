// What the build takes from the user's project: its Moleculer, and the section `isomer` of its package.json.

import fs from "node:fs";
import path from "node:path";

function readJson(file) {
	try {
		return JSON.parse(fs.readFileSync(file, "utf8"));
	} catch (error) {
		if (error.code === "ENOENT" || error.code === "ENOTDIR") return null;
		throw new Error(`${file}: ${error.message}`);
	}
}

function* foldersUp(from) {
	for (let folder = from; ; folder = path.dirname(folder)) {
		yield folder;
		if (path.dirname(folder) === folder) return;
	}
}

/** `{folder, moleculer, stubs}`; `moleculer` is the version whose rules hold for old event handlers. */
export function projectOf(entry) {
	const start = path.dirname(entry);
	let [folder, manifest, moleculer] = [start, null, null];
	for (const up of foldersUp(start)) {
		moleculer ??= readJson(path.join(up, "node_modules/moleculer/package.json"))?.version ?? null;
		const found = manifest ? null : readJson(path.join(up, "package.json"));
		if (found) [folder, manifest] = [up, found];
		if (manifest && moleculer) break;
	}
	const wanted = manifest?.dependencies?.moleculer ?? manifest?.peerDependencies?.moleculer ?? manifest?.devDependencies?.moleculer;
	moleculer ??= /\d+\.\d+(\.\d+)?/.exec(wanted ?? "")?.[0] ?? null;
	return { folder, moleculer, stubs: manifest?.isomer?.stub ?? [] };
}
