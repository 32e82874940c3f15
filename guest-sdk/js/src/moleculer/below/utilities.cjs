// What `require("moleculer/src/utils")` is in a service; `delay` is that of Moleculer 0.13 and before.

const { Utils } = require("../index.js");

module.exports = {
	...Utils,
	delay: ms => value => new Promise(done => setTimeout(done, ms, value))
};
