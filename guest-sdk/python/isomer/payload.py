"""What travels in calls and events: Python values on this side, JSON text or raw bytes on the other.

`bytes` cross as they are when they are the whole value, and in the JSON form of a Node.js `Buffer` inside of
another one. `ABSENT` is JavaScript's `undefined`; `None` is `null`. Nothing that a handler returns may trap
the component: what has no JSON form is an ordinary exception.
"""

import json
import math
from dataclasses import fields, is_dataclass
from datetime import date, datetime, time
from decimal import Decimal
from enum import Enum
from json import encoder as json_encoder
from uuid import UUID

from isomer._host import Payload_Absent
from isomer._light import Json, RawBytes


class _Absent:
    """The type of `ABSENT`."""

    __slots__ = ()

    def __repr__(self):
        return "ABSENT"

    def __bool__(self):
        return False


ABSENT = _Absent()
"""No value at all: JavaScript's `undefined`. As params of a call it arrives as `{}`."""


class Payload:
    """As the type of a handler's parameter: the whole params or data as they are, `ABSENT` included."""


def to_payload(value):
    """The payload of a value. Raises `TypeError` or `ValueError` when it has no JSON form."""
    kind = type(value)
    if kind is Json:
        return value
    if kind is bytes or kind is bytearray or kind is memoryview:
        return RawBytes(value)
    if value is ABSENT:
        return Payload_Absent()
    return Json(dumps(value))


def from_payload(payload, absent=None):
    """The value of a payload; `absent` stands for no value."""
    if type(payload) is Json:
        return loads(payload)
    if type(payload) is RawBytes:
        return bytes(payload)
    return absent


_scan = json.JSONDecoder().scan_once


def loads(text):
    """Reads JSON text. `json.loads` would go through three functions and two regular expressions."""
    try:
        value, end = _scan(text, 0)
        if end == len(text):
            return value
    except StopIteration:
        pass
    return json.loads(text)


def dumps(value):
    """Writes JSON text as JavaScript would: without spaces, `NaN` as `null`."""
    try:
        text = "".join(_encode(value, 0))
    except ValueError as error:
        _markers.clear()
        if "JSON compliant" not in str(error):
            raise
        text = "".join(_encode(_finite(value), 0))
    except BaseException:
        _markers.clear()
        raise
    if not text.isascii():
        try:
            text.encode("utf-8")
        except UnicodeEncodeError:
            # Lone surrogates are no UTF-8; JSON can say them in ASCII only.
            return json.dumps(value, default=_default, separators=(",", ":"))
    return text


def clean(text):
    """Text that can cross the boundary: lone surrogates, which UTF-8 cannot say, become question marks."""
    text = text if type(text) is str else str(text)
    return text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")


def _default(value):
    """The form of what JSON does not know; also called by `dumps` for parts of a value."""
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in fields(value)}
    if isinstance(value, (datetime, date, time)):
        return value.isoformat()
    if isinstance(value, (set, frozenset)):
        return list(value)
    if isinstance(value, (bytes, bytearray, memoryview)):
        return {"type": "Buffer", "data": list(value)}
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, UUID):
        return str(value)
    if isinstance(value, Decimal):
        return float(value)
    if value is ABSENT:
        return None
    to_json = getattr(value, "to_json", None)
    if callable(to_json):
        return to_json()
    raise TypeError(
        f"a value of type {type(value).__name__} has no JSON form; return a dict, a dataclass, "
        "or give the class a method to_json()"
    )


def _finite(value):
    """The same value with `None` in the place of numbers that JSON does not have."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return value


# One encoder for all values: `json.dumps` makes a new one each time. The dictionary of markers finds
# circles; its entries are taken out as values are done, except after an error.
_markers = {}
if json_encoder.c_make_encoder:
    _encode = json_encoder.c_make_encoder(
        _markers, _default, json_encoder.encode_basestring, None, ":", ",", False, False, False
    )
else:
    _slow = json.JSONEncoder(
        default=_default, ensure_ascii=False, allow_nan=False, separators=(",", ":")
    )

    def _encode(value, _):
        return _slow.iterencode(value)
