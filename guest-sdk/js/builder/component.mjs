// Makes the component of a bundle, with the engine QuickJS inside.

import fs from "node:fs";
import os from "node:os";
import path from "node:path";

import { SDK } from "./bundle.mjs";

/** Where the WIT package of Isomer lies beside the SDK: in the repository, and where the tool unpacks it. */
const WIT = path.join(SDK, "../../wit");

/** The bytes of the component. */
export async function makeComponent({ code, wit = WIT, small }) {
	const { componentize } = await import("componentize-qjs");
	const folder = fs.mkdtempSync(path.join(os.tmpdir(), "isomer-wit-"));
	try {
		fs.cpSync(path.join(SDK, "wit"), folder, { recursive: true });
		const target = path.join(folder, "deps/isomer-service");
		fs.mkdirSync(target, { recursive: true });
		for (const file of fs.readdirSync(wit).filter(name => name.endsWith(".wit"))) {
			fs.copyFileSync(path.join(wit, file), path.join(target, file));
		}
		const { component } = await componentize({ witPath: folder, world: "guest", jsSource: code, optSize: Boolean(small) });
		return component;
	} finally {
		fs.rmSync(folder, { recursive: true, force: true });
	}
}
