// Streams of the host as streams of Node.js, both ways, with their back-pressure.
//
// `Streams` gets Node's stream module from the build, which bundles one only for services that need it.

import { decode, encode } from "./payload.js";
import { errorFromFailure, failureFromError } from "./failure.js";
import { attempt, dispose, settle } from "./future.js";

export class Streams {
	/** `load()` gives the module `stream`. */
	constructor(load) {
		this._load = load;
	}

	/** What comes from the host, as a Readable. */
	readable(reader) {
		const { Readable } = this._load();
		let busy = false;
		return new Readable({
			objectMode: reader.objectMode(),
			read() {
				if (busy) return;
				busy = true;
				settle(reader.read()).then(
					chunk => {
						busy = false;
						if (!chunk) dispose(reader);
						this.push(chunk ? decode(chunk) : null);
					},
					error => this.destroy(error)
				);
			},
			destroy(error, done) {
				dispose(reader);
				done(error);
			}
		});
	}

	/** Writes a Readable to the host, to its end; a failure of the source fails the stream there. */
	async pump(source, writer) {
		try {
			for await (const chunk of source) await settle(writer.write(pieceOf(chunk, writer.objectMode())));
			attempt(() => writer.end());
		} catch (error) {
			// Who reads no more is told by the result of the call, not by this.
			if (error && error.type !== "STREAM_CLOSED") writer.fail(failureFromError(error));
		} finally {
			dispose(writer);
		}
	}

	/** Makes a call that may send a stream and be answered with one. `start()` gives what the host gives. */
	async exchange(start, sent) {
		const begun = attempt(start);
		const [writer, pending] = sent ? begun : [null, begun];
		if (writer) this.pump(sent, writer);
		try {
			const result = await settle(pending.done());
			if (result.tag !== "absent") return decode(result);
			const reader = attempt(() => pending.takeStream());
			return reader ? this.readable(reader) : undefined;
		} finally {
			dispose(pending);
		}
	}

	/** Answers the call with a stream; ends when all of it is written. */
	async respond(handle, source, objectMode) {
		let writer;
		try {
			writer = handle.respondStream(objectMode);
		} catch (failure) {
			throw errorFromFailure(failure);
		}
		await this.pump(source, writer);
	}
}

/** In a stream of bytes a text is its bytes. */
function pieceOf(chunk, objectMode) {
	if (objectMode) return encode(chunk);
	return encode(typeof chunk === "string" ? Buffer.from(chunk) : chunk);
}
