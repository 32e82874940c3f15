"""Write Isomer services in Python.

A service is a class; `build.py` makes a WebAssembly component of it that any Isomer node runs and any
Moleculer node can call:

    from isomer import action, event, service

    @service(name="greeter", version=2, settings={"greeting": "Hello"})
    class Greeter:
        @action(cache=True)
        async def welcome(self, ctx, name: str):
            await ctx.emit("greeter.greeted", {"name": name})
            return f"{ctx.settings['greeting']}, {name}!"

        @event("user.*", group="greeters")
        def on_user(self, ctx, user):
            ctx.logger.info(f"{ctx.name}: {user}")

`isomer.testing` runs a service in an ordinary unit test.
"""

from isomer.context import Context
from isomer.errors import (
    ClientError,
    MoleculerError,
    QueueIsFullError,
    RequestTimeoutError,
    RetryableError,
    ServerError,
    ServiceNotAvailableError,
    ServiceNotFoundError,
    ValidationError,
)
from isomer.payload import ABSENT, Json, Payload
from isomer.service import (
    VERSION,
    DeclarationError,
    action,
    after,
    before,
    event,
    fallback,
    on_error,
    service,
    started,
    stopped,
)
from isomer.stream import Reader, Writer

__version__ = VERSION
__all__ = [
    "ABSENT",
    "ClientError",
    "Context",
    "DeclarationError",
    "Json",
    "MoleculerError",
    "Payload",
    "QueueIsFullError",
    "Reader",
    "RequestTimeoutError",
    "RetryableError",
    "ServerError",
    "ServiceNotAvailableError",
    "ServiceNotFoundError",
    "ValidationError",
    "Writer",
    "action",
    "after",
    "before",
    "event",
    "fallback",
    "on_error",
    "service",
    "started",
    "stopped",
]
