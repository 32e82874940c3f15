"use strict";
// The service `js` of the test peers under another name: the same handlers, in a component.

const { Errors } = require("moleculer");

const [js] = require("../peers/services").all(Errors);

module.exports = { ...js, name: "twin" };
