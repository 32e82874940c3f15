"use strict";

const { MoleculerClientError } = require("moleculer").Errors;

module.exports = {
	name: "{{name}}",

	settings: {
		greeting: "Hello"
	},

	actions: {
		hello: {
			params: { name: "string|min:2" },
			handler(ctx) {
				return this.greet(ctx.params.name);
			}
		},

		// Calls another service; several calls are in flight at once.
		async everybody(ctx) {
			const names = await ctx.call("names.list");
			if (names.length === 0) throw new MoleculerClientError("There is nobody.", 404, "NOBODY");
			return Promise.all(names.map(name => ctx.call("{{name}}.hello", { name })));
		}
	},

	events: {
		"user.created"(ctx) {
			this.logger.info("New user:", ctx.params);
		}
	},

	methods: {
		greet(name) {
			return `${this.settings.greeting}, ${name}!`;
		}
	}
};
