// What `require("moleculer/src/service")` is in a service.

module.exports = require("../service.js").Service;
