// What `require("moleculer/src/context")` is in a service.

module.exports = require("../context.js").Context;
