import { Errors, type Context, type Service, type ServiceSchema } from "moleculer";

interface Settings {
	greeting: string;
}

type ThisService = Service<Settings> & { greet(name: string): string };

const schema: ServiceSchema<Settings> = {
	name: "{{name}}",

	settings: {
		greeting: "Hello"
	},

	actions: {
		hello: {
			params: { name: "string|min:2" },
			handler(this: ThisService, ctx: Context<{ name: string }>): string {
				return this.greet(ctx.params.name);
			}
		},

		// Calls another service; several calls are in flight at once.
		async everybody(ctx: Context): Promise<string[]> {
			const names = await ctx.call<string[]>("names.list");
			if (names.length === 0) throw new Errors.MoleculerClientError("There is nobody.", 404, "NOBODY");
			return Promise.all(names.map(name => ctx.call<string, { name: string }>("{{name}}.hello", { name })));
		}
	},

	events: {
		"user.created"(this: ThisService, ctx: Context<unknown>) {
			this.logger.info("New user:", ctx.params);
		}
	},

	methods: {
		greet(this: ThisService, name: string): string {
			return `${this.settings.greeting}, ${name}!`;
		}
	}
};

export default schema;
