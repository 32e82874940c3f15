// What `require("moleculer/src/errors")` is in a service.

module.exports = require("../errors.js").Errors;
