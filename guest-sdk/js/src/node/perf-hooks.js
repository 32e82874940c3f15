// `perf_hooks` of Node.js: the clock.

export const performance = globalThis.performance;
export default { performance };
