"""The service {{name}}."""

from isomer import action, event, service


@service(name="{{name}}", settings={"greeting": "Hello"})
class Service:
    @action
    async def hello(self, ctx, name: str = "world"):
        """Greets somebody, and tells everybody that it did."""
        await ctx.emit("{{name}}.greeted", {"name": name})
        return f"{ctx.settings['greeting']}, {name}!"

    @event("user.*")
    def on_user(self, ctx, user):
        ctx.logger.info("a user", event=ctx.name, user=user)
