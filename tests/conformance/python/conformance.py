"""The conformance guest in Python; `tests/conformance/README.md` says what each action does."""

import asyncio
import os

from isomer import (
    ABSENT,
    ClientError,
    MoleculerError,
    Payload,
    action,
    after,
    before,
    event,
    on_error,
    service,
    started,
    stopped,
)

HOARD = []


def fields(ctx):
    """The context object."""
    return {
        "id": ctx.id,
        "requestID": ctx.request_id,
        "parentID": ctx.parent_id,
        "caller": ctx.caller,
        "level": ctx.level,
        "nodeID": ctx.node_id,
        "name": ctx.name,
        "eventType": ctx.event_type,
        "eventGroups": ctx.event_groups,
        "meta": ctx.meta,
        "headers": ctx.headers,
        "remainingTime": ctx.remaining_time,
        "settings": ctx.settings,
        "localNodeID": ctx.local_node_id,
        "namespace": ctx.namespace,
    }


def call(ctx, item):
    """One call as the params of an action describe it."""
    return ctx.call(item["action"], item.get("params", ABSENT), **item.get("options", {}))


def pushed(value, key, name):
    value.setdefault(key, []).append(name)


def reading(reader):
    """Reads a stream to its end."""
    seen = {"objectMode": reader.object_mode, "bytes": 0, "values": [], "end": "end"}
    try:
        for chunk in reader:
            if seen["objectMode"]:
                seen["values"].append(chunk)
            else:
                seen["bytes"] += len(chunk)
    except MoleculerError as error:
        seen["end"] = error.type
    return seen


@service(
    name="conformance",
    settings={"color": "red", "size": 5},
    metadata={"kind": "conformance"},
)
class Conformance:
    def __init__(self):
        self.started = 0
        self.counted = 0
        self.runs = 0
        self.noted = []

    @started
    def start(self, ctx):
        if ctx.settings.get("started") == "fail":
            raise MoleculerError(500, "START_FAILED", "as the settings ask")
        self.started += 1
        ctx.emit("life.started", {"started": self.started})

    @stopped
    def stop(self, ctx):
        ctx.emit("life.stopped", {"count": self.counted})

    # Values

    @action(**{"x-custom": {"deep": [1, None]}})
    def echo(self, params: Payload):
        return params

    @action
    def kind(self, params: Payload):
        if params is ABSENT:
            return "absent"
        return "bytes" if isinstance(params, bytes) else "json"

    @action
    def nothing(self) -> None:
        pass

    @action(params=None)
    def bytes(self, n):
        return b"\7" * n

    @action
    def sum(self, params: Payload):
        return sum(params)

    @action
    def roundtrip(self, value):
        return {"value": value}

    # Context

    @action
    def context(self, ctx):
        return fields(ctx)

    @action(name="setMeta")
    def set_meta(self, ctx, set, fail=False):
        was = ctx.meta
        ctx.set_meta(set)
        if fail:
            raise ClientError(400, "AFTER_META", "failed after the meta was set")
        return was

    @action(name="setHeaders")
    def set_headers(self, ctx, params) -> None:
        ctx.set_response_headers(params)

    @action
    def log(self, ctx, level, message, fields=None):
        ctx.logger.log(level, message, **(fields or {}))
        return ctx.logger.enabled(level)

    @action
    def count(self):
        self.counted += 1
        return {"count": self.counted, "started": self.started}

    # Errors

    @action
    def fail(self, params):
        raise MoleculerError.from_json(params)

    @action(name="failPlain")
    def fail_plain(self, message):
        raise ValueError(message)

    @action
    def trap(self):
        os._exit(3)

    # Calls

    @action
    async def call(self, ctx, params):
        return await call(ctx, params)

    @action(name="callAndMeta")
    async def call_and_meta(self, ctx, params):
        result = error = None
        try:
            result = await call(ctx, params)
        except MoleculerError as caught:
            error = caught.to_json()
        return {"result": result, "error": error, "meta": ctx.meta}

    @action
    async def parallel(self, ctx, calls):
        outcomes = await asyncio.gather(
            *(call(ctx, item) for item in calls), return_exceptions=True
        )
        return [
            {"error": outcome.to_json()}
            if isinstance(outcome, MoleculerError)
            else {"value": outcome}
            for outcome in outcomes
        ]

    @action
    async def mcall(self, ctx, calls, settled=False, timeout=None):
        options = {"settled": True} if settled else {}
        if timeout is not None:
            options["timeout"] = timeout
        return await ctx.mcall(calls, **options)

    @action(name="waitFor")
    async def wait_for(self, ctx, services, timeout=None) -> None:
        await ctx.wait_for_services(services, timeout=timeout)

    @action(visibility="private")
    def secret(self):
        return "only for this service"

    # Events

    @action
    async def emit(self, ctx, event, data=ABSENT, kind="emit", options=None) -> None:
        send = {"broadcast": ctx.broadcast, "broadcastLocal": ctx.broadcast_local}
        await send.get(kind, ctx.emit)(event, data, **(options or {}))

    @action
    def events(self):
        noted, self.noted = self.noted, []
        return noted

    @event("conformance.*")
    def on_conformance(self, ctx, data: Payload):
        absent = data is ABSENT
        noted = {"context": fields(ctx), "data": None if absent else data, "absent": absent}
        self.noted.append(noted)

    @event("grouped.**", group="conformance-group")
    def on_grouped(self, ctx, data):
        noted = {"context": fields(ctx), "data": data, "group": "conformance-group"}
        self.noted.append(noted)

    @event("failing.event")
    def on_failing(self):
        raise ClientError(418, "EVENT_FAILED", "the handler fails")

    # Validation, cache, hooks, fallback

    @action(
        params={
            "id": {"type": "number", "integer": True, "positive": True},
            "name": {"type": "string", "min": 3, "optional": True},
            "tags": {"type": "array", "items": "string", "optional": True},
            "$$strict": True,
        }
    )
    def validated(self, params):
        return params

    @action(cache={"keys": ["id"], "ttl": 60})
    def cached(self, id):
        self.runs += 1
        return {"id": id, "runs": self.runs}

    @action
    def cacher(self, ctx, do, key=None, value=None, ttl=None):
        cacher = ctx.cacher
        if do == "enabled":
            return cacher.enabled
        if do == "get":
            found = cacher.get(key, ABSENT)
            return {"found": found is not ABSENT, "value": None if found is ABSENT else found}
        if do == "ttl":
            found = cacher.get_with_ttl(key)
            return {"found": found is not None, "ttl": found and found[1]}
        if do == "set":
            cacher.set(key, value, ttl)
        elif do == "del":
            cacher.delete(key)
        elif do == "clean":
            cacher.clean(key)
        return ABSENT

    @action(hooks={"before": "own_before", "after": "own_after", "error": "own_error"})
    def hooked(self, params):
        if params.get("fail"):
            raise MoleculerError(500, "HOOKED", "failed")
        return {"seen": params["seen"], "after": []}

    @before("hook*")
    def service_before(self, params):
        pushed(params, "seen", "service")

    @after("hook*")
    def service_after(self, result):
        pushed(result, "after", "service")

    @on_error("hook*")
    def service_error(self, error):
        error.message += ", seen by service"
        raise error

    def own_before(self, params):
        pushed(params, "seen", "action")

    def own_after(self, result):
        pushed(result, "after", "action")

    def own_error(self, params, error):
        if params.get("recover"):
            return {"recovered": error.message}
        error.message += ", seen by action"
        raise error

    @action(fallback="instead")
    def saved(self, why):
        raise ClientError(409, "NOT_SAVED", why, {"at": 1})

    def instead(self, ctx, params):
        cause = ctx.cause
        return {
            "instead": cause.message,
            "type": cause.type,
            "data": cause.data,
            "params": params,
        }

    # Limits

    @action(limits={"fuel": 50_000_000})
    def spin(self, n):
        rounds = 0
        while n == 0 or rounds < n:
            rounds += 1
        return n

    @action
    def hoard(self, mib):
        HOARD.append(b"x" * (mib << 20))
        return mib

    # Streams

    @action(name="readStream")
    def read_stream(self, ctx):
        reader = ctx.stream()
        return None if reader is None else reading(reader)

    @action(name="writeStream")
    def write_stream(self, ctx, n, size=1, objectMode=False, fail=False):
        with ctx.respond_stream(objectMode) as writer:
            for i in range(n):
                writer.write({"n": i} if objectMode else b"x" * size)
            if fail:
                raise MoleculerError(409, "LATE", "half way")

    @action(name="sendStream")
    async def send_stream(self, ctx, action, n):
        sent = ctx.send_stream(action, object_mode=True)
        with sent.writer as writer:
            for i in range(n):
                writer.write({"n": i})
        return await sent

    @action(name="takeStream")
    async def take_stream(self, ctx, action, params=ABSENT):
        return reading(await ctx.call_stream(action, params))
