// A service that keeps state in itself: what it knows is seen by all its calls, which wait for one another and
// for other services at the same time.

import { createHash } from "node:crypto";
import { Readable } from "node:stream";

import { Service, Errors, type Context, type ServiceBroker } from "moleculer";

class FullError extends Errors.MoleculerClientError {}

export default class CounterService extends Service {
	count = 0;
	ticks = 0;
	seen: unknown[] = [];
	opened: Promise<string>;
	open!: (by: string) => void;

	constructor(broker: ServiceBroker) {
		super(broker);
		this.opened = new Promise(done => (this.open = done));
		this.parseServiceSchema({
			name: "counter",
			version: 2,
			settings: { most: 100 },
			actions: {
				add: { params: { by: "number|integer" }, handler: this.add },
				waitForOpen: () => this.opened,
				open: (ctx: Context) => this.open(ctx.nodeID!),
				together: this.together,
				again: this.again,
				ticks: () => this.ticks,
				seen: () => this.seen,
				hash: (ctx: Context<{ text: string }>) => createHash("sha256").update(ctx.params.text).digest("hex"),
				stream: () => Readable.from(["one ", "two ", "three"], { objectMode: false }),
				upload: this.upload,
				surroundings: this.surroundings
			},
			events: {
				"thing.*"(this: CounterService, payload: unknown, _sender: string, event: string) {
					this.seen.push([event, payload]);
				}
			},
			started: this.begin
		});
	}

	/** Ticks while no call runs. */
	begin() {
		setInterval(() => (this.ticks += 1), 5);
	}

	add(ctx: Context<{ by: number }>) {
		if (this.count + ctx.params.by > this.settings.most) {
			throw new FullError("It is full.", 409, "FULL", { count: this.count });
		}
		this.count += ctx.params.by;
		return this.count;
	}

	/** Calls another node several times at once, and says how long all of it took. */
	async together(ctx: Context<{ action: string; ms: number; times: number }>) {
		const { action, ms, times } = ctx.params;
		await this.waitForServices(["js"]);
		const begun = Date.now();
		const results = await Promise.all(Array.from({ length: times }, () => ctx.call(action, { ms })));
		return { results, took: Date.now() - begun };
	}

	/** Reaches itself through the node. */
	again(ctx: Context<{ times: number }>): unknown {
		const { times } = ctx.params;
		return times === 0 ? ctx.level : ctx.call("v2.counter.again", { times: times - 1 });
	}

	async upload(ctx: Context) {
		const pieces: Buffer[] = [];
		for await (const piece of (ctx as unknown as { stream: Readable }).stream) pieces.push(piece);
		return Buffer.concat(pieces).toString();
	}

	async surroundings() {
		const url = new URL("/a?b=ä", "http://host.test/");
		await new Promise(done => setTimeout(done, 2));
		return {
			url: url.href,
			b: url.searchParams.get("b"),
			base64: Buffer.from("häh").toString("base64"),
			text: new TextDecoder().decode(new TextEncoder().encode("€")),
			random: Math.random() !== Math.random() && crypto.randomUUID() !== crypto.randomUUID(),
			clone: structuredClone({ date: new Date(0) }).date.getTime(),
			service: this.fullName,
			node: this.broker.nodeID
		};
	}
}
