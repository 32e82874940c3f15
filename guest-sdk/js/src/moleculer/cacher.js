// `broker.cacher`: the cacher of the node, with the functions that services use.
//
// A service may use the keys that begin with its own full name; others need a grant of the operator (see
// docs/caching.md). Errors are Moleculer's; without a cacher on the node nothing is found and nothing kept.
//
// moleculer: src/cachers/base.js

import { settle } from "../runtime/future.js";
import { decode, encode } from "../runtime/payload.js";

export class Cacher {
	/** `moleculer` is the version whose rules hold: since 0.15 what is not there is no longer `null`, which can be kept. */
	constructor(host, moleculer) {
		this._host = host;
		const missingResponse = /^0\.1[0-4]\b/.test(moleculer || "") ? null : undefined;
		this.opts = { ttl: null, missingResponse };
		this.prefix = "";
	}

	get connected() {
		return this._host.enabled();
	}

	async get(key) {
		const found = await settle(this._host.get(key));
		return found ? decode(found) : this.opts.missingResponse;
	}

	async getWithTTL(key) {
		const found = await settle(this._host.getWithTtl(key));
		return found ? { data: decode(found[0]), ttl: found[1] ?? null } : { data: this.opts.missingResponse, ttl: null };
	}

	async set(key, data, ttl) {
		await settle(this._host.set(key, encode(data), ttl ?? null));
		return data;
	}

	async del(keys) {
		await settle(this._host.del(Array.isArray(keys) ? keys : [keys]));
	}

	/** Without a pattern Moleculer removes everything; here that needs the grant for every key. */
	async clean(match = "**") {
		await settle(this._host.clean(Array.isArray(match) ? match : [match]));
	}
}
