// `console` of Node.js as a module.

module.exports = globalThis.console;
