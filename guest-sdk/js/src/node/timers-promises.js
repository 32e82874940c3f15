// `timers/promises` of Node.js.

import { promises } from "./timers.js";

export const { setTimeout, setImmediate, setInterval, scheduler } = promises;
export default promises;
