// The host as the SDK uses it: the imports of the world `service-async`, and what the build adds.

import broker from "isomer:service/broker-async@0.1.0";
import cacher from "isomer:service/cacher-async@0.1.0";
import config from "isomer:service/config@0.1.0";
import logger from "isomer:service/logger@0.1.0";
import timers from "isomer:service/timers@0.1.0";
import tracing from "isomer:service/tracing-async@0.1.0";

import { setValidator } from "../moleculer/validator.js";
import { Streams } from "./streams.js";

/** `parts`: `{moleculer, stream(), events(), validator()}`; the functions load modules of the bundle. */
export function makeHost(parts) {
	setValidator(parts.validator);
	return {
		isHost: true,
		broker,
		cacher,
		config,
		logger,
		timers,
		tracing,
		moleculer: parts.moleculer,
		streams: new Streams(parts.stream),
		get EventEmitter() {
			return parts.events().EventEmitter;
		}
	};
}
