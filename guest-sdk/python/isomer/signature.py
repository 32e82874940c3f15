"""How a handler wants to be called, found out once when its service is declared.

A parameter called `ctx` (or with the type `Context`) gets the context. Of the others, a single one called
`params` or `data`, or whose type is a dataclass, a `TypedDict`, `bytes`, `Json` or `Payload`, gets the whole
value; else each gets the param of its name (one underscore at the end is cut off: `from_` is `from`).
"""

import inspect
import typing

from isomer import hints
from isomer.context import Context
from isomer.errors import ValidationError
from isomer.payload import ABSENT, Json, Payload, dumps, from_payload

__isomer_inside__ = True

NONE, WHOLE, FIELDS = "none", "whole", "fields"
WHOLE_NAMES = {"params", "data", "payload"}


class Signature:
    """The parameters of one handler."""

    def __init__(self, function, always_whole=False):
        self.function = function
        self.is_async = inspect.iscoroutinefunction(function)
        found = inspect.signature(function)
        types = _types(function)
        parameters = list(found.parameters.values())[1:]
        self.wants_context = bool(parameters) and _is_context(parameters[0], types)
        if self.wants_context:
            parameters = parameters[1:]
        self.answers_nothing = types.get("return", ABSENT) in (None, type(None))
        self.types = types
        self.parameters = {_key(p): p for p in parameters if p.kind is not p.VAR_KEYWORD}
        self.takes_rest = len(self.parameters) < len(parameters)
        self.kind = self._kind(always_whole)
        self._prepare()

    def _kind(self, always_whole):
        if not self.parameters:
            return FIELDS if self.takes_rest else NONE
        first = next(iter(self.parameters.values()))
        alone = len(self.parameters) == 1 and not self.takes_rest
        named = first.name in WHOLE_NAMES or hints.is_whole(self.types.get(first.name))
        return WHOLE if alone and (named or always_whole) else FIELDS

    def _prepare(self):
        self.required = frozenset(
            key for key, p in self.parameters.items() if p.default is p.empty
        )
        self.names = {key: p.name for key, p in self.parameters.items()}
        self.same_names = all(key == name for key, name in self.names.items())
        made = {p.name: hints.converter(self.types.get(p.name)) for p in self.parameters.values()}
        self.converters = {name: function for name, function in made.items() if function}
        if self.kind is WHOLE:
            hint = self.types.get(next(iter(self.parameters.values())).name)
            self.raw = hint is Json
            self.absent = ABSENT if hint is Payload else None
            self.convert = next(iter(self.converters.values()), None)

    def schema(self):
        """The rules of the params, when the hints say any."""
        if self.kind is WHOLE:
            hint = self.types.get(next(iter(self.parameters.values())).name)
            made = hints.rule(hint) if hint else {}
            return made.get("props") if isinstance(made, dict) else None
        if self.kind is NONE or not any(p.name in self.types for p in self.parameters.values()):
            return None
        return {key: self._rule(p) for key, p in self.parameters.items()}

    def _rule(self, parameter):
        made = hints.rule(self.types.get(parameter.name, typing.Any))
        return made if parameter.default is parameter.empty else hints.optional(made)

    def call_payload(self, service, ctx, payload):
        """Calls the handler with what came over the boundary."""
        if self.kind is NONE:
            return self.function(service, ctx) if self.wants_context else self.function(service)
        if self.kind is WHOLE:
            if self.raw:
                return self._whole(service, ctx, payload if type(payload) is Json else Json("null"))
            return self.call_value(service, ctx, from_payload(payload, self.absent))
        return self.call_value(service, ctx, from_payload(payload))

    def call_value(self, service, ctx, value):
        """Calls the handler with params that have been read, by hooks for example."""
        if self.kind is NONE:
            return self.function(service, ctx) if self.wants_context else self.function(service)
        if self.kind is WHOLE:
            if self.raw:
                value = Json(dumps(value))
            return self._whole(service, ctx, self.convert(value) if self.convert else value)
        fields = self._fields(value)
        if self.wants_context:
            return self.function(service, ctx, **fields)
        return self.function(service, **fields)

    def _whole(self, service, ctx, value):
        if self.wants_context:
            return self.function(service, ctx, value)
        return self.function(service, value)

    def _fields(self, value):
        if value is None:
            value = {}
        elif not isinstance(value, dict):
            raise ValidationError(data=[hints.invalid("object", "the params are no object", None)])
        if not self.required <= value.keys():
            missing = sorted(self.required - value.keys())
            raise ValidationError(
                data=[
                    hints.invalid("required", f"The '{key}' field is required.", key)
                    for key in missing
                ]
            )
        if not self.takes_rest and not value.keys() <= self.names.keys():
            value = {key: item for key, item in value.items() if key in self.names}
        if not self.same_names:
            value = {self.names.get(key, key): item for key, item in value.items()}
        if self.converters:
            value = dict(value)
            for name, function in self.converters.items():
                if name in value:
                    value[name] = _convert(function, value[name], name)
        return value


def _convert(function, value, name):
    try:
        return function(value)
    except ValidationError:
        raise
    except (TypeError, ValueError, KeyError) as error:
        raise ValidationError(data=[hints.invalid("type", str(error), name)]) from error


def _types(function):
    try:
        return typing.get_type_hints(function, include_extras=True)
    except NameError as error:
        raise TypeError(f"{function.__qualname__}: a type hint cannot be read: {error}") from None


def _is_context(parameter, types):
    return parameter.name in ("ctx", "context", "_ctx") or types.get(parameter.name) is Context


def _key(parameter):
    name = parameter.name
    return name[:-1] if name.endswith("_") and not name.endswith("__") else name


