"use strict";
// Fails as soon as it is loaded.

const nothing = null;

module.exports = { name: "broken", settings: nothing.settings };
