"""Quotations of the users of `v2.users`, with a slug from the Go sample: one chain through three languages."""

import asyncio
from dataclasses import dataclass

from isomer import ClientError, action, event, service


@dataclass
class Quote:
    text: str
    user: int = 1


@service(name="quotes")
class Quotes:
    def __init__(self):
        self.quotes = []
        self.posts = 0

    @action
    async def add(self, ctx, quote: Quote):
        """Keeps a quotation. The two calls are in flight at once."""
        if not quote.text.strip():
            raise ClientError(422, "EMPTY", "a quotation has words", data={"user": quote.user})
        user, slug = await asyncio.gather(
            ctx.call("v2.users.get", {"id": quote.user}),
            ctx.call("slugs.make", {"text": quote.text}, fallback_response=None),
        )
        kept = {"id": len(self.quotes) + 1, "text": quote.text, "by": user["name"], "slug": slug}
        self.quotes.append(kept)
        await ctx.emit("quote.added", kept)
        return kept

    @action
    def list(self):
        return {"quotes": self.quotes, "posts": self.posts}

    @event("post.created", group="quotes")
    def on_post(self, post):
        self.posts += 1
