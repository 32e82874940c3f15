// `url` of Node.js: its old functions, and the classes that are globals.

import legacy from "url";

import { URL, URLSearchParams } from "../inject/url.js";

export const { parse, format, resolve, resolveObject, Url } = legacy;
export { URL, URLSearchParams };

export function fileURLToPath(url) {
	const { protocol, pathname } = typeof url === "string" ? new URL(url) : url;
	if (protocol !== "file:") throw new TypeError("The URL must be of scheme file");
	return decodeURIComponent(pathname);
}

export const pathToFileURL = path => new URL(`file://${encodeURI(path)}`);

export default { parse, format, resolve, resolveObject, Url, URL, URLSearchParams, fileURLToPath, pathToFileURL };
