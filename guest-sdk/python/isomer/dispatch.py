"""Runs the handlers of a declared service, whoever calls: a node, or the mock of a test.

Whatever a handler raises becomes a failure here; nothing may leave as an exception, which would trap the
component. What can be decided beforehand is decided when the service is declared, not per call.
"""

import inspect
import json
import re

from isomer._host import Err
from isomer.context import OVER, Context
from isomer.errors import ClientError, ValidationError, to_failure
from isomer.loop import LOOP
from isomer.payload import ABSENT, from_payload, to_payload

__isomer_inside__ = True

_HOOK_NAMES = {
    "ctx": "ctx",
    "context": "ctx",
    "params": "params",
    "result": "value",
    "response": "value",
    "res": "value",
    "error": "value",
    "err": "value",
    "cause": "value",
}


class Hook:
    """A method that runs around actions; its parameters are known by their names."""

    def __init__(self, function, moment):
        self.function = function
        self.moment = moment
        self.wants = []
        for name in list(inspect.signature(function).parameters)[1:]:
            wanted = _HOOK_NAMES.get(name)
            if wanted is None or (wanted == "value" and moment == "before"):
                allowed = "ctx, params" if moment == "before" else "ctx, params, result or error"
                raise TypeError(
                    f"{function.__qualname__}: a hook takes {allowed}; '{name}' is none of them"
                )
            self.wants.append((name, wanted))

    async def run(self, service, ctx, params, value=None):
        """Calls the method and gives what it returns."""
        given = {"ctx": ctx, "params": params, "value": value}
        returned = self.function(service, **{name: given[wanted] for name, wanted in self.wants})
        return await returned if inspect.isawaitable(returned) else returned


class Action:
    """One action: how its method is called and what stands around it."""

    def __init__(self, key, signature):
        self.key = key
        self.signature = signature
        self.schema = {}
        self.hook_names = {}
        self.fallback_name = None
        self.fallback = None
        self.before = self.after = self.error = ()
        self.has_hooks = False

    def finish(self):
        """Called when all hooks are known."""
        self.has_hooks = bool(self.before or self.after or self.error)

    def run(self, service, ctx, payload):
        """Runs the action and gives its result."""
        if self.has_hooks:
            return LOOP.run(self._run_with_hooks(service, ctx, payload))
        return _result(self.signature, self.signature.call_payload(service, ctx, payload))

    async def _run_with_hooks(self, service, ctx, payload):
        params = from_payload(payload, ABSENT)
        try:
            for hook in self.before:
                changed = await hook.run(service, ctx, params)
                params = params if changed is None else changed
            value = self.signature.call_value(service, ctx, None if params is ABSENT else params)
            result = await _settle(self.signature, value)
            for hook in self.after:
                changed = await hook.run(service, ctx, params, result)
                result = result if changed is None else changed
            return result
        except Exception as error:
            return await self._recover(service, ctx, params, error)

    async def _recover(self, service, ctx, params, error):
        for hook in self.error:
            try:
                result = await hook.run(service, ctx, params, error)
            except Exception as other:
                error = other
                continue
            if isinstance(result, BaseException):
                error = result
            elif result is not None:
                return result
        raise error


class Event:
    """The handlers of one pattern."""

    def __init__(self, schema):
        self.schema = dict(schema)
        self.handlers = []


class Definition:
    """A service as it was declared."""

    def __init__(self, cls, name):
        self.cls = cls
        self.name = name
        self.actions = {}
        self.events = {}
        self.lifecycle = {}
        self.schema = None
        self.schema_text = None

    def finish(self, schema):
        """Keeps the schema; its text is written once."""
        self.schema = schema
        try:
            self.schema_text = json.dumps(schema, allow_nan=False)
        except (TypeError, ValueError) as error:
            raise TypeError(f"service {self.name}: the schema has no JSON form: {error}") from None
        return self

    def call_action(self, service, raw, key, payload):
        """Runs an action; `raw` is the context of the boundary. Gives a payload or raises `Err`."""
        ctx = Context(raw)
        try:
            item = self.actions.get(key)
            if item is None:
                return to_payload(self._run_fallback(service, ctx, key, payload))
            return to_payload(item.run(service, ctx, payload))
        except BaseException as error:
            raise Err(to_failure(error)) from None
        finally:
            _leave(ctx)

    def _run_fallback(self, service, ctx, key, payload):
        name, mark, kind = key.rpartition("|")
        item = self.actions.get(name) if mark and kind == "fallback" else None
        if item is None or item.fallback is None:
            raise ClientError(
                404, "NO_SUCH_ACTION", f"service '{self.name}' has no action '{key}'"
            )
        cause = ctx.cause
        try:
            value = item.fallback.call_payload(service, ctx, payload)
        except ValidationError as error:
            # Params that the action could not read either are no reason to hide its own error.
            raise cause or error from None
        return _result(item.fallback, value)

    def handle_event(self, service, raw, pattern, payload):
        """Runs all handlers of a pattern; the first error is raised when all have run."""
        ctx = Context(raw)
        first = None
        try:
            item = self.events.get(pattern)
            if item is None:
                raise ClientError(
                    404, "NO_SUCH_EVENT", f"service '{self.name}' has no event '{pattern}'"
                )
            for signature in item.handlers:
                try:
                    _result(signature, signature.call_payload(service, ctx, payload))
                except Exception as error:
                    first = first or error
            if first is not None:
                raise first
        except BaseException as error:
            raise Err(to_failure(error)) from None
        finally:
            _leave(ctx)

    def run_lifecycle(self, service, raw, moment):
        """Runs `started` or `stopped`."""
        ctx = Context(raw)
        try:
            for signature in self.lifecycle.get(moment, ()):
                given = (service, ctx) if signature.wants_context else (service,)
                _result(signature, signature.function(*given))
        except BaseException as error:
            raise Err(to_failure(error)) from None
        finally:
            _leave(ctx)


def _leave(ctx):
    """Called when a handler has returned: the node knows its context no more."""
    if LOOP._ready or LOOP._timers or LOOP._pending:
        LOOP.finish()
    ctx._raw = OVER


def _result(signature, value):
    """The result of a handler: of its coroutine, when it is one."""
    if signature.is_async:
        value = LOOP.run(value)
    elif hasattr(value, "__await__"):
        value = LOOP.run(_await(value))
    if value is None and signature.answers_nothing:
        return ABSENT
    return value


async def _settle(signature, value):
    value = await value if hasattr(value, "__await__") else value
    return ABSENT if value is None and signature.answers_nothing else value


async def _await(value):
    return await value


def pattern_matches(pattern, name):
    """Whether a pattern of events means a name; a node does this itself, the mock does not have one."""
    parts = [
        ".*" if part == "**" else "[^.]*" if part == "*" else "[^.]" if part == "?" else re.escape(part)
        for part in re.split(r"(\*\*|\*|\?)", pattern)
    ]
    return re.fullmatch("".join(parts), name) is not None


