// `process` of Node.js as a module.

module.exports = globalThis.process;
