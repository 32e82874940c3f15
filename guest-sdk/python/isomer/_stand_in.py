"""The types of the WIT and an empty node, for unit tests outside of a component.

The classes have the names and fields that `componentize-py` gives them. The functions of the node are those
of the mock broker that is in use (`isomer.testing`); without one they know nothing.
"""

from dataclasses import dataclass
from enum import Enum
from types import SimpleNamespace
from typing import Any, Optional


@dataclass
class Payload_Absent:
    pass


@dataclass
class Failure:
    name: str
    message: str
    code: Optional[int]
    type: Optional[str]
    retryable: bool
    data: Optional[str]
    stack: Optional[str]
    extra: Optional[str]


@dataclass(frozen=True)
class Err(Exception):
    value: Any


class EventType(Enum):
    EMIT = 0
    BROADCAST = 1
    BROADCAST_LOCAL = 2


class Level(Enum):
    FATAL = 0
    ERROR = 1
    WARN = 2
    INFO = 3
    DEBUG = 4
    TRACE = 5


logger = SimpleNamespace(log=lambda *_: None, enabled=lambda _: True)
config = SimpleNamespace(
    settings=lambda: "{}",
    service=lambda: "",
    node_id=lambda: "mock-node",
    namespace=lambda: "",
)
cacher = SimpleNamespace(
    enabled=lambda: False,
    get=lambda _: None,
    get_with_ttl=lambda _: None,
    set=lambda *_: None,
    del_=lambda _: None,
    clean=lambda _: None,
)


def wait_any(calls):
    """Calls of a mock are done when they have been started."""
    return 0 if calls else None
