"""Lighter forms of what `componentize-py` makes for each call, of the same shape.

Its own ones cost more than the rest of a call together: payloads are dataclasses, whose `__init__` is Python, and
each resource gets a `weakref.finalize`. These are put into their places before the tool takes them.
"""

import weakref


class Json(str):
    """JSON text that is neither read nor written, only passed on.

    As the type of a handler's parameter it asks for the text of the params; as a value it stands for what
    its text says. The node refuses text that is no JSON.
    """

    __slots__ = ()

    value = property(str)


class RawBytes(bytes):
    """A payload of bytes."""

    __slots__ = ()

    value = property(bytes)


class _Borrowed:
    """For a resource that is only lent to a handler: the node takes it back itself, whatever happens."""

    __slots__ = ()

    detach = tuple


class _Finalizer:
    """Gives a resource back when nobody has it any more; it lives as long as the resource does."""

    __slots__ = ("_task",)

    def __init__(self, function, args):
        self._task = (function, args)

    def detach(self):
        """What was to be done, as `weakref.finalize` tells it; nothing is done any more."""
        task, self._task = self._task, None
        return None if task is None else (None, *task, {})

    def __del__(self):
        if self._task is not None:
            function, args = self._task
            function(*args)


def light_finalizers(lent):
    """Makes the tool, which takes `weakref.finalize` when the service has been loaded, take something lighter;
    `lent` is the class of the resource that is never owned. The first call puts the original back."""
    borrowed = _Borrowed()

    def finalize(resource, function, *args):
        return borrowed if type(resource) is lent else _Finalizer(function, args)

    weakref.finalize, _ORIGINAL["finalize"] = finalize, weakref.finalize


_ORIGINAL = {}


def restore_finalizers():
    """Puts `weakref.finalize` back, which belongs to the service."""
    weakref.finalize = _ORIGINAL.pop("finalize", weakref.finalize)
