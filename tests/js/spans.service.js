// Makes spans, as a service under Moleculer JS does.
"use strict";

module.exports = {
	name: "jspans",
	actions: {
		async run(ctx) {
			const span = ctx.startSpan("work", { type: "db", tags: { a: 1 } });
			span.addTags({ b: 2 }).log("half", { of: 2 });
			const part = span.startSpan("part");
			const answer = await ctx.call("rs.echo", ctx.params);
			part.finish();
			ctx.finishSpan(span);
			ctx.startSpan("left").setError(new Error("no"));
			return answer;
		}
	}
};
