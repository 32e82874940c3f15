"""Type hints as a schema of params, and how JSON values become what the hints say.

The schema is fastest-validator's, which the node applies before a handler runs. Conversion is needed for few
types (dataclasses, enums, sets, tuples, and containers of them); all others are taken as they come, so that
most handlers pay nothing.
"""

import dataclasses
import enum
import types
import typing
from datetime import date, datetime

from isomer.errors import ValidationError
from isomer.payload import Json, Payload

_PLAIN = {
    int: {"type": "number", "integer": True},
    float: {"type": "number"},
    str: {"type": "string"},
    bool: {"type": "boolean"},
    dict: {"type": "object"},
    list: {"type": "array"},
    tuple: {"type": "array"},
    set: {"type": "array"},
    frozenset: {"type": "array"},
    type(None): {"type": "equal", "value": None},
}

# Not in every Python under which unit tests run.
_REQUIRED = [getattr(typing, name) for name in ("Required", "NotRequired") if hasattr(typing, name)]


def rule(hint):
    """The rule for a hint: a dictionary, or a list of them for a union of several types."""
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Annotated:
        return _annotated(hint)
    if origin in (typing.Union, types.UnionType):
        return _union(args)
    if origin is typing.Literal:
        return {"type": "enum", "values": list(args)}
    if origin in _REQUIRED:
        return rule(args[0])
    if origin in (list, set, frozenset) and args:
        return {"type": "array", "items": rule(args[0])}
    if origin is tuple and args:
        if args[-1] is Ellipsis:
            return {"type": "array", "items": rule(args[0])}
        return {"type": "tuple", "items": [rule(arg) for arg in args]}
    if origin is dict and len(args) == 2:
        return {"type": "record", "key": {"type": "string"}, "value": rule(args[1])}
    if origin is not None:
        return rule(origin)
    if isinstance(hint, type):
        return _class(hint)
    return {"type": "any"}


def _annotated(hint):
    base, *notes = typing.get_args(hint)
    made = rule(base)
    for note in notes:
        if isinstance(note, dict):
            made = {**made, **note} if isinstance(made, dict) else made
    return made


def _union(args):
    others = [arg for arg in args if arg is not type(None)]
    rules = [rule(arg) for arg in others]
    if len(others) == len(args):
        return rules
    if len(rules) == 1 and isinstance(rules[0], dict):
        return {**rules[0], "optional": True, "nullable": True}
    return [{**item, "optional": True, "nullable": True} for item in rules]


def _class(kind):
    if kind in _PLAIN:
        return dict(_PLAIN[kind])
    if issubclass(kind, enum.Enum):
        return {"type": "enum", "values": [item.value for item in kind]}
    if dataclasses.is_dataclass(kind):
        return {"type": "object", "props": fields_of_dataclass(kind)}
    if typing.is_typeddict(kind):
        return {"type": "object", "props": fields_of_dict(kind)}
    if issubclass(kind, (date, datetime)):
        return {"type": "string"}
    return {"type": "any"}


def optional(made):
    """A rule whose value may be left out."""
    if isinstance(made, list):
        return [{**item, "optional": True} for item in made]
    return {**made, "optional": True}


def fields_of_dataclass(kind):
    """The rules of a dataclass's fields."""
    hints = typing.get_type_hints(kind, include_extras=True)
    rules = {}
    for field in dataclasses.fields(kind):
        made = rule(hints[field.name])
        required = (
            field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
        )
        rules[field.name] = made if required else optional(made)
    return rules


def fields_of_dict(kind):
    """The rules of a `TypedDict`'s keys."""
    hints = typing.get_type_hints(kind, include_extras=True)
    return {
        name: rule(hint) if name in kind.__required_keys__ else optional(rule(hint))
        for name, hint in hints.items()
    }


def is_whole(hint):
    """Whether a hint says that a parameter takes the whole params and not one of them."""
    return hint in (Payload, Json, bytes) or (
        isinstance(hint, type) and (dataclasses.is_dataclass(hint) or typing.is_typeddict(hint))
    )


def converter(hint):
    """A function from a JSON value to what the hint says; `None` when there is nothing to do."""
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Annotated or origin in _REQUIRED:
        return converter(args[0])
    if origin in (typing.Union, types.UnionType):
        return _union_converter(args)
    if origin in (list, set, frozenset, tuple) or hint in (set, frozenset, tuple):
        return _list_converter(origin or hint, args)
    if origin is dict and len(args) == 2:
        inner = converter(args[1])
        return inner and (lambda value: {key: inner(item) for key, item in value.items()})
    if not isinstance(hint, type):
        return None
    if issubclass(hint, enum.Enum):
        return hint
    if dataclasses.is_dataclass(hint):
        return _dataclass_converter(hint)
    if issubclass(hint, (date, datetime)):
        return hint.fromisoformat
    return None


def _union_converter(args):
    others = [arg for arg in args if arg is not type(None)]
    if len(others) != 1:
        return None
    inner = converter(others[0])
    return inner and (lambda value: None if value is None else inner(value))


def _list_converter(kind, args):
    if kind is tuple and args and args[-1] is not Ellipsis:
        inners = [converter(arg) or _same for arg in args]
        return lambda value: tuple(inner(item) for inner, item in zip(inners, value))
    inner = converter(args[0]) if args else None
    if kind is list:
        return inner and (lambda value: [inner(item) for item in value])
    return lambda value: kind(value if inner is None else map(inner, value))


def _same(value):
    return value


def _dataclass_converter(kind):
    hints = typing.get_type_hints(kind)
    names = {field.name for field in dataclasses.fields(kind) if field.init}
    inner = {name: made for name in names if (made := converter(hints[name]))}

    def convert(value):
        if isinstance(value, kind):
            return value
        if not isinstance(value, dict):
            raise ValidationError(data=[invalid("object", "an object is expected", None)])
        fields = {name: value[name] for name in value.keys() & names}
        for name, function in inner.items():
            if name in fields:
                fields[name] = function(fields[name])
        try:
            return kind(**fields)
        except TypeError as error:
            raise ValidationError(data=[invalid("required", str(error), None)]) from error

    return convert


def invalid(kind, message, field):
    """One item of a `ValidationError`'s data, as Moleculer's validator makes them."""
    item = {"type": kind, "message": message}
    if field is not None:
        item["field"] = field
    return item
