// `stream/promises` of Node.js.

module.exports = require("readable-stream").promises;
