"use strict";
// Writes the recorded packets as the corpus of the targets for cargo-fuzz: node corpus.js

const fs = require("node:fs");
const path = require("node:path");

const TARGETS = { JSON: "json", JSONExt: "json_ext", MsgPack: "msgpack", Notepack: "notepack", CBOR: "cbor" };
// In the order of PacketType::ALL.
const KINDS = [
	"EVENT", "REQ", "RES", "DISCOVER", "INFO", "DISCONNECT", "HEARTBEAT", "PING", "PONG", "GOSSIP_HELLO", "GOSSIP_REQ", "GOSSIP_RES"
];

const packets = JSON.parse(fs.readFileSync(path.join(__dirname, "../vectors/serializers.json")));
for (const [format, target] of Object.entries(TARGETS)) {
	const folder = path.join(__dirname, "corpus", target);
	fs.mkdirSync(folder, { recursive: true });
	packets.forEach(({ kind, formats }, n) => {
		if (!(format in formats)) return;
		const bytes = Buffer.from(formats[format].bytes, "hex");
		fs.writeFileSync(path.join(folder, `${n}`), Buffer.concat([Buffer.from([KINDS.indexOf(kind)]), bytes]));
	});
}
