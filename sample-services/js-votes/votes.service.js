// Votes on the posts of the sample `posts`: a Moleculer service as it runs under Node.js, built into a component.

const { MoleculerClientError } = require("moleculer").Errors;

module.exports = {
	name: "votes",
	settings: { top: 3 },

	actions: {
		/** Fails as `posts.get` does when there is no such post. */
		add: {
			params: { post: "number|integer|convert", value: { type: "enum", values: [1, -1], default: 1 } },
			async handler(ctx) {
				const { post, value } = ctx.params;
				const { user } = ctx.meta;
				await ctx.call("posts.get", { id: post });
				const vote = `${user} ${post}`;
				if (user && this.voted.has(vote)) throw new MoleculerClientError("everybody votes once", 409, "VOTED", { post });
				this.voted.add(vote);
				this.count(post, value);
				await ctx.emit("post.voted", { post, votes: this.votes.get(post) });
				return this.votes.get(post);
			}
		},

		/** The posts are asked for at once. */
		async top(ctx) {
			const best = [...this.votes].sort((a, b) => b[1] - a[1]).slice(0, this.settings.top);
			const posts = await Promise.all(best.map(([id]) => ctx.call("posts.get", { id })));
			return posts.map(({ title }, index) => ({ title, votes: best[index][1] }));
		}
	},

	events: {
		"post.created"(ctx) {
			this.count(ctx.params.id, 0);
		}
	},

	methods: {
		count(post, value) {
			this.votes.set(post, (this.votes.get(post) || 0) + value);
		}
	},

	// One instance serves all calls, so this is the state of the service.
	created() {
		this.votes = new Map();
		this.voted = new Set();
	}
};
