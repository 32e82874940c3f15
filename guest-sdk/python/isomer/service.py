"""Declares a service: a class, and decorators on its methods.

Everything is checked when the class is made, which is when the component is built: a mistake stops the build
with a sentence that says what to write.
"""

import difflib
import re

from isomer.dispatch import Action, Definition, Event, Hook
from isomer.signature import Signature

VERSION = "0.1.0"

ACTION_KEYS = (
    "name params cache timeout visibility rest retryPolicy bulkhead circuitBreaker fallback hooks tracing "
    "metadata description strategy strategyOptions openapi limits"
).split()
EVENT_KEYS = "name group params context debounce throttle bulkhead tracing limits".split()
LIMIT_KEYS = "fuel timeout memory payload".split()
VISIBILITIES = ("published", "public", "protected", "private")

DEFINITIONS = []
"""The services that have been declared; a component has exactly one."""


class DeclarationError(TypeError):
    """What is wrong with a declaration, and how it is mended."""


def service(
    name, *, version=None, settings=None, metadata=None, dependencies=None, mode=None, limits=None
):
    """Makes a service of a class: `@service(name="posts", version=2, settings={"pageSize": 10})`.

    An instance of the class is made, without arguments, in every instance of the component; a node may run
    several of them, each with values of its own in `self`. `mode` is "pooled" or "fresh"; `limits` asks for
    less than the operator allows: `{"fuel": …, "timeout": milliseconds, "memory": bytes, "payload": bytes}`.
    """
    if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z0-9_.\-]+", name):
        raise DeclarationError(
            f"the name of a service has letters, digits, `-`, `_` and `.`; {name!r} has others. "
            'Write @service(name="posts")'
        )
    if mode not in (None, "pooled", "fresh"):
        raise DeclarationError(f'mode is "pooled" or "fresh", not {mode!r}')
    schema = {"name": name}
    for key, value in (
        ("version", version),
        ("settings", settings),
        ("metadata", metadata),
        ("dependencies", dependencies),
    ):
        if value is not None:
            schema[key] = value
    isomer = {"sdk": f"python/{VERSION}"}
    if mode:
        isomer["mode"] = mode
    if limits:
        isomer["limits"] = _limits(limits, f"service {name}")

    def decorate(cls):
        definition = _collect(cls, schema, isomer)
        cls.__isomer__ = definition
        DEFINITIONS.append(definition)
        return cls

    return decorate


def action(function=None, **keys):
    """Makes an action of a method: `@action`, or `@action(cache=True, timeout=2000, rest="GET /:id")`.

    Keys are Moleculer's; keys of your own are carried to all nodes (give names that Python cannot write as
    `**{"x-custom": 1}`). `name` replaces the method's name, `limits` narrows the limits, `hooks` names
    methods: `hooks={"before": "check", "after": ["one", "two"]}`. Without `params` the schema is made from
    the type hints; `params=None` is none at all. The retry policy and others may be written
    `retry_policy`.
    """

    def mark(function):
        options = {_camel(key): value for key, value in keys.items()}
        _check_keys(options, ACTION_KEYS, "an action", function)
        return _mark(function, "action", options)

    return mark(function) if function is not None else mark


def event(pattern, **keys):
    """Handles events: `@event("user.*", group="posts")`. A single parameter beside `ctx` gets the data."""

    def mark(function):
        if not isinstance(pattern, str):
            raise DeclarationError(f'{_place(function)}: write the pattern first: @event("user.*")')
        options = {_camel(key): value for key, value in keys.items()}
        _check_keys(options, EVENT_KEYS, "an event", function)
        return _mark(function, "event", (pattern, options))

    return mark


def started(function):
    """Runs in every new instance before its first call."""
    return _mark(function, "started", None)


def stopped(function):
    """Runs in an instance that is retired in good health."""
    return _mark(function, "stopped", None)


def before(*patterns):
    """Runs before actions: `@before("*")`, `@before("create", "update")`, `@before("get*")`.

    It takes `ctx` and `params`; it may change the params in place or return others, and refuses the call by
    raising an error.
    """
    return _hook("before", patterns)


def after(*patterns):
    """Runs after actions that ended well. It takes `ctx`, `params` and `result`; what it returns is the
    result from then on, except `None`."""
    return _hook("after", patterns)


def on_error(*patterns):
    """Runs when an action or another hook failed. It takes `ctx`, `params` and `error`. What it raises is the
    error from then on; what it returns, except `None`, is the result of the call."""
    return _hook("error", patterns)


def fallback(*actions):
    """Answers in the place of actions that have failed for good, after hooks, retries and time-outs; takes
    the params as an action does, and the error as `ctx.cause`."""

    def mark(function):
        return _mark(function, "fallback", actions)

    return mark


def _hook(moment, patterns):
    def mark(function):
        words = [word for pattern in patterns for word in str(pattern).split("|")]
        return _mark(function, "hook", (moment, words or ["*"]))

    if len(patterns) == 1 and callable(patterns[0]):
        function, patterns = patterns[0], ("*",)
        return mark(function)
    return mark


def _mark(function, kind, value):
    if not callable(function):
        raise DeclarationError(f"@{kind} stands on a method")
    function.__dict__.setdefault("__isomer_marks__", []).append((kind, value))
    return function


def _collect(cls, schema, isomer):
    """Reads the marks on a class's methods, those of its bases first."""
    definition = Definition(cls, schema["name"])
    methods = {}
    for base in reversed(cls.__mro__):
        methods.update({name: f for name, f in vars(base).items() if callable(f)})
    marks = [
        (function, kind, value)
        for function in methods.values()
        for kind, value in getattr(function, "__isomer_marks__", ())
    ]
    lifecycle = []
    for function, kind, value in marks:
        if kind == "action":
            _add_action(definition, function, dict(value))
        elif kind == "event":
            _add_event(definition, function, *value)
        elif kind in ("started", "stopped"):
            definition.lifecycle.setdefault(kind, []).append(Signature(function))
            lifecycle.append(kind)
    _add_fallbacks(definition, marks, methods)
    _add_hooks(definition, marks, methods)
    if lifecycle:
        isomer["lifecycle"] = sorted(set(lifecycle))
    schema["actions"] = {key: item.schema for key, item in definition.actions.items()}
    schema["events"] = {key: item.schema for key, item in definition.events.items()}
    schema["isomer"] = isomer
    return definition.finish(schema)


def _add_action(definition, function, options):
    key = options.pop("name", None) or function.__name__
    if not re.fullmatch(r"[^\s|]+", key):
        raise DeclarationError(f"{_place(function)}: the name of an action is a word without `|`")
    if key in definition.actions:
        raise DeclarationError(f"{_place(function)}: there are two actions '{key}'")
    if options.get("visibility") not in (None, *VISIBILITIES):
        raise DeclarationError(
            f"{_place(function)}: visibility is one of {', '.join(VISIBILITIES)}"
        )
    signature = Signature(function)
    item = Action(key, signature)
    item.hook_names = options.pop("hooks", None) or {}
    item.fallback_name = options.get("fallback")
    schema = {}
    if "params" not in options:
        options["params"] = signature.schema()
    for name, value in options.items():
        if value is None:
            continue
        if name == "limits":
            schema["isomer"] = {"limits": _limits(value, _place(function))}
        elif name == "fallback":
            schema["fallback"] = value if isinstance(value, str) else value.__name__
        else:
            schema[name] = value
    if function.__doc__ and "description" not in schema:
        schema["description"] = function.__doc__.strip().split("\n\n")[0]
    item.schema = schema
    definition.actions[key] = item


def _add_event(definition, function, pattern, options):
    schema = {key: value for key, value in options.items() if value is not None and key != "limits"}
    if options.get("limits"):
        schema["isomer"] = {"limits": _limits(options["limits"], _place(function))}
    item = definition.events.setdefault(pattern, Event(schema))
    if schema and item.schema != schema:
        if item.schema:
            raise DeclarationError(
                f"{_place(function)}: another handler of '{pattern}' has other keys"
            )
        item.schema = schema
    item.handlers.append(Signature(function, always_whole=True))


def _add_fallbacks(definition, marks, methods):
    for function, kind, names in marks:
        if kind != "fallback":
            continue
        for name in names:
            item = definition.actions.get(name)
            if item is None:
                raise DeclarationError(f"{_place(function)}: there is no action '{name}'")
            item.fallback = Signature(function)
            item.schema["fallback"] = function.__name__
    for item in definition.actions.values():
        if item.fallback_name and item.fallback is None:
            place = f"action '{item.key}'"
            item.fallback = Signature(_method(item.fallback_name, methods, place))


def _add_hooks(definition, marks, methods):
    """In Moleculer's order: around an action stand its own hooks, those of patterns, those of `*`."""
    used = set()
    for item in definition.actions.values():
        for moment in ("before", "after", "error"):
            everything, some = [], []
            for function, kind, value in marks:
                if kind != "hook" or value[0] != moment:
                    continue
                if "*" in value[1]:
                    everything.append(Hook(function, moment))
                    used.add(function)
                elif any(_matches(word, item.key) for word in value[1]):
                    some.append(Hook(function, moment))
                    used.add(function)
            own = item.hook_names.get(moment) or []
            own = own if isinstance(own, (list, tuple)) else [own]
            own = [Hook(_method(name, methods, f"action '{item.key}'"), moment) for name in own]
            outer = [*everything, *some, *own]
            setattr(item, moment, outer if moment == "before" else [*own, *some, *everything])
        item.finish()
    for function, kind, value in marks:
        if kind == "hook" and function not in used:
            words = "|".join(value[1])
            raise DeclarationError(f"{_place(function)}: no action is meant by '{words}'")


def _method(name, methods, place):
    if callable(name):
        return name
    if name not in methods:
        raise DeclarationError(f"{place}: there is no method '{name}'{_meant(name, methods)}")
    return methods[name]


def _matches(pattern, name):
    return re.fullmatch(re.escape(pattern).replace(r"\*", ".*"), name) is not None


def _check_keys(options, known, what, function):
    """Keys of one's own are allowed; a slip of a known one is not."""
    for key in options:
        meant = difflib.get_close_matches(key, known, 1, 0.85)
        if key not in known and meant:
            raise DeclarationError(
                f"{_place(function)}: {what} has no key '{key}'; did you mean '{meant[0]}'?"
            )


def _limits(limits, place):
    for key, value in dict(limits).items():
        if key not in LIMIT_KEYS:
            known = ", ".join(LIMIT_KEYS)
            raise DeclarationError(f"{place}: limits has no key '{key}'; it has {known}")
        if not isinstance(value, int) or isinstance(value, bool) or value < 0:
            raise DeclarationError(f"{place}: limit '{key}' is a whole number")
    return dict(limits)


def _meant(name, names):
    close = difflib.get_close_matches(str(name), list(names), 1)
    return f"; did you mean '{close[0]}'?" if close else ""


def _place(function):
    code = getattr(function, "__code__", None)
    where = f"{code.co_filename}:{code.co_firstlineno}: " if code else ""
    return f"{where}{getattr(function, '__qualname__', function)}"


def _camel(key):
    """`retry_policy` is Moleculer's `retryPolicy`; other keys are as they are written."""
    head, *rest = key.split("_")
    camel = head + "".join(part.title() for part in rest)
    return camel if camel in ACTION_KEYS or camel in EVENT_KEYS else key
