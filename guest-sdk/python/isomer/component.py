"""The service as a component: its exports. Only in builds by `build.py`, which makes a module that calls
`bind` while the snapshot of the interpreter is taken.
"""

import gc
import random

from componentize_py_types import Err

from isomer._light import restore_finalizers
from isomer.errors import to_failure
from isomer.service import DEFINITIONS, DeclarationError

__isomer_inside__ = True

_definition = None
_service = None


def bind():
    """Takes the one service that has been declared."""
    global _definition
    if len(DEFINITIONS) != 1:
        names = ", ".join(sorted(found.name for found in DEFINITIONS)) or "none"
        raise DeclarationError(
            f"a component has exactly one class with @service(…); found: {names}"
        )
    _definition = DEFINITIONS[0]
    # What is there now lives as long as the instance. Without this, the collector goes through all of it again
    # and again, and writes to memory that instances share until they do.
    gc.collect()
    gc.freeze()
    return Handler


class Handler:
    """The exports of `isomer:service/handler`."""

    def describe(self):
        return _definition.schema_text

    def started(self, ctx):
        _definition.run_lifecycle(_instance(), ctx, "started")

    def stopped(self, ctx):
        _definition.run_lifecycle(_instance(), ctx, "stopped")

    def call_action(self, ctx, action, params):
        return _definition.call_action(_service or _instance(), ctx, action, params)

    def handle_event(self, ctx, event, data):
        _definition.handle_event(_service or _instance(), ctx, event, data)


def _instance():
    """The service of this instance, made by the first call."""
    global _service
    if _service is None:
        restore_finalizers()
        # The state of the generator is part of the snapshot, and so the same in all instances.
        random.seed()
        try:
            _service = _definition.cls()
        except BaseException as error:
            raise Err(to_failure(error)) from None
    return _service
