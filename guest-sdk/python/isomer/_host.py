"""What a component imports from its node, or stand-ins of the same shape under an ordinary Python.

The rest of the package takes the types of the WIT from here and knows no other difference between the two.
`logger`, `config` and `cacher` are read as attributes of this module at each use, so that a mock can stand
in their place.
"""

from isomer._light import Json, RawBytes, light_finalizers

try:
    from componentize_py_types import Err
    from wit_world.imports import types as _types

    # Before the tool looks for them, which it does when the service has been loaded.
    _types.Payload_Json, _types.Payload_Bytes = Json, RawBytes
    from wit_world.imports import broker, cacher, config, logger
    from wit_world.imports.broker import EventType, wait_any
    from wit_world.imports.logger import Level
    from wit_world.imports.types import Failure, Payload_Absent

    light_finalizers(broker.Context)
    IN_COMPONENT = True
except ImportError:
    from isomer._stand_in import (
        Err,
        EventType,
        Failure,
        Level,
        Payload_Absent,
        cacher,
        config,
        logger,
        wait_any,
    )

    IN_COMPONENT = False

Payload_Json, Payload_Bytes = Json, RawBytes

EVENT_TYPES = {
    EventType.EMIT: "emit",
    EventType.BROADCAST: "broadcast",
    EventType.BROADCAST_LOCAL: "broadcastLocal",
}
"""Moleculer's names of the ways in which an event is sent."""
