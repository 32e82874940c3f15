"use strict";
// Streams of the test peers: a service that reads, makes and passes on streams, and the commands with which a
// test sends and reads them. In 0.15 a stream travels beside the params; in 0.14 it is the params, and what
// else the callee is to know travels in the meta.

const { createHash } = require("node:crypto");
const { Readable, Transform } = require("node:stream");

/** Byte number i of every file, as in tests/src/streams.rs. */
const byteAt = i => (i * 7 + (i >> 8)) & 255;

function* pieces(size, piece) {
	for (let at = 0; at < size; at += piece) {
		const bytes = Buffer.alloc(Math.min(piece, size - at));
		for (let i = 0; i < bytes.length; i++) bytes[i] = byteAt(at + i);
		yield bytes;
	}
}

const file = (size, piece = 100_000) => Readable.from(pieces(size, piece), { objectMode: false });

const values = function* (count) {
	for (let n = 0; n < count; n++) yield { n, text: "ü".repeat(n % 5), deep: [null, { n }] };
};

/** One chunk, then an error. */
const broken = (Errors, objectMode) =>
	new Readable({
		objectMode,
		read() {
			if (this.begun) return this.destroy(new Errors.MoleculerClientError("half way", 409, "HALF", { at: 1 }));
			this.begun = true;
			this.push(objectMode ? { n: 0 } : Buffer.from("first"));
		}
	});

/** Everything of a stream: bytes as their number and hash, values as they are, and the error at its end. */
async function drain(stream) {
	const hash = createHash("sha256");
	const items = [];
	let size = 0;
	let error = null;
	try {
		for await (const chunk of stream) {
			if (Buffer.isBuffer(chunk)) {
				size += chunk.length;
				hash.update(chunk);
			} else items.push(chunk);
		}
	} catch (err) {
		error = { name: err.name, message: err.message, type: err.type, code: err.code, data: err.data };
	}
	return { size, hash: hash.digest("hex"), items, error };
}

/** The stream of a request, in either version. */
const incoming = ctx => ctx.stream ?? ctx.params;

exports.service = Errors => ({
	name: "js.files",
	actions: {
		/** Reads a stream and says what it was, and what came beside it. */
		async read(ctx) {
			const result = await drain(incoming(ctx));
			return { ...result, params: ctx.stream ? ctx.params : null, meta: ctx.meta, headers: ctx.headers ?? null };
		},
		file: ctx => file(ctx.params.size, ctx.params.piece),
		values: ctx => Readable.from(values(ctx.params.count)),
		broken: ctx => broken(Errors, ctx.params.objectMode),
		/** Gives every chunk back. */
		back(ctx) {
			const stream = incoming(ctx);
			const objectMode = stream.readableObjectMode;
			const through = new Transform({ objectMode, transform: (chunk, _, done) => done(null, chunk) });
			stream.on("error", err => through.destroy(err));
			return stream.pipe(through);
		},
		/** Answers without a look at its stream. */
		ignore: () => "done",
		refuse() {
			throw new Errors.MoleculerClientError("no", 403, "NO");
		}
	}
});

exports.commands = (getBroker, version, Errors) => {
	const send = (action, stream, { params, meta } = {}) =>
		version === "0.14"
			? getBroker().call(action, stream, { meta })
			: getBroker().call(action, params, { meta, stream });
	const make = { file: ({ size, piece }) => file(size, piece), values: ({ count }) => Readable.from(values(count)) };
	make.broken = ({ objectMode }) => broken(Errors, objectMode);
	return {
		/** Calls with a stream; gives the result. */
		async upload({ action, source, options }) {
			return send(action, make[source.kind](source), options);
		},
		/** Calls an action that answers with a stream; gives all of it. */
		async download({ action, params, source, options }) {
			const stream = source
				? await send(action, make[source.kind](source), options)
				: await getBroker().call(action, params, options);
			return drain(stream);
		},
		/** Reads one chunk of a stream and goes away. */
		async peek({ action, params }) {
			const stream = await getBroker().call(action, params);
			for await (const chunk of stream) return chunk.length;
			return null;
		},
		/** Streams that the transit still knows. */
		async openStreams() {
			const { pendingReqStreams, pendingResStreams } = getBroker().transit;
			return { requests: pendingReqStreams.size, responses: pendingResStreams.size };
		}
	};
};
