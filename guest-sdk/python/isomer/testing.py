"""Runs a service in an ordinary unit test, with a broker that answers as the test says.

    from isomer.testing import MockBroker

    class Test(unittest.TestCase):
        def test_author(self):
            mock = MockBroker()
            mock.on_call("users.get", lambda params, options: {"id": params["id"], "name": "Ada"})
            author = mock.call(Posts(), "author", {"id": 5})
            self.assertEqual(author["name"], "Ada")
            self.assertEqual(mock.calls[0].action, "users.get")

The test goes through the same code as a call from the mesh: params are read, hooks run, results written and
errors made as in a component. What the mock does not do is what the node adds around it: limits, validation
by schema, middlewares, and the network.
"""

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

from isomer import _host
from isomer.dispatch import pattern_matches
from isomer.errors import ServiceNotFoundError, from_failure, to_failure
from isomer.payload import ABSENT, dumps, from_payload, loads, to_payload

_TYPES = {name: kind for kind, name in _host.EVENT_TYPES.items()}


@dataclass
class MadeCall:
    """A call that the service made; options have Moleculer's names."""

    action: str
    params: Any
    options: dict


@dataclass
class SentEvent:
    """An event that the service sent; `kind` is `emit`, `broadcast` or `broadcastLocal`."""

    kind: str
    name: str
    data: Any
    options: dict


@dataclass
class LogLine:
    """A line that the service logged."""

    level: str
    message: str
    fields: dict


@dataclass
class WrittenStream:
    """A stream that the service wrote: how it ended is `"end"`, an error, or `None` when it has not."""

    object_mode: bool
    chunks: list = field(default_factory=list)
    end: Any = None


class MockBroker:
    """A broker in memory, whose other services are functions of the test.

    It remembers what the service under test did in `calls`, `events`, `logs`, `meta`, `response_headers`,
    `cache`, and `streams` (those that it wrote).
    """

    def __init__(self, *, settings=None, meta=None, headers=None, caller=None):
        self.settings = settings
        self.meta = dict(meta or {})
        self.headers = dict(headers or {})
        self.caller = caller
        self.calls = []
        self.events = []
        self.logs = []
        self.response_headers = {}
        self.cache = {}
        self.streams = []
        self._answers = {}
        self._stream = None
        self._contexts = 0

    def on_call(self, action, answer):
        """Answers calls of an action: by a function of params and options, or with a value.

        A function that raises makes the call fail. Actions without an answer fail with Moleculer's
        `ServiceNotFoundError`.
        """
        self._answers[action] = answer
        return self

    def on_call_stream(self, action, chunks):
        """Answers calls of an action with a stream: of bytes, or of other values in object mode."""
        self._answers[action] = _Chunks(list(chunks))
        return self

    def with_stream(self, chunks):
        """Sends a stream with the next call of `call`."""
        self._stream = _Chunks(list(chunks))
        return self

    def call(self, service, action, params=ABSENT, *, payload=False):
        """Calls an action of a service by its own name or its full one; raises what it fails with.

        The result went through JSON and back. `payload=True` tells `ABSENT` from `None`.
        """
        definition = service.__isomer__
        key = action if action in definition.actions else action.rpartition(".")[2]
        raw = self._context(definition, f"{definition.name}.{key}")
        result = self._enter(
            definition.call_action, definition, service, raw, action if "|" in action else key,
            to_payload({} if params is ABSENT else params),
        )  # fmt: skip
        return from_payload(result, ABSENT if payload else None)

    def emit(self, service, event, data=ABSENT, *, kind="emit", groups=()):
        """Sends an event to the handlers of a service whose patterns match."""
        definition = service.__isomer__
        for pattern in definition.events:
            if pattern_matches(pattern, event):
                raw = self._context(definition, event)
                raw.kind, raw.groups = _TYPES[kind], list(groups)
                arguments = (service, raw, pattern, to_payload(data))
                self._enter(definition.handle_event, definition, *arguments)

    def start(self, service):
        """Runs what stands under `@started`."""
        definition = service.__isomer__
        raw = self._context(definition, "started")
        self._enter(definition.run_lifecycle, definition, service, raw, "started")

    def stop(self, service):
        """Runs what stands under `@stopped`."""
        definition = service.__isomer__
        raw = self._context(definition, "stopped")
        self._enter(definition.run_lifecycle, definition, service, raw, "stopped")

    def _context(self, definition, name):
        self._contexts += 1
        stream, self._stream = self._stream, None
        return _Context(self, name, f"mock-{self._contexts}", stream)

    def _enter(self, function, definition, *arguments):
        """Runs a handler while this mock stands in the place of the node."""
        before = _host.logger, _host.config, _host.cacher
        settings = self.settings
        if settings is None:
            settings = definition.schema.get("settings", {})
        version = definition.schema.get("version")
        prefix = "" if version is None else f"v{version}." if isinstance(version, int) else f"{version}."
        _host.logger = SimpleNamespace(log=self._log, enabled=lambda level: True)
        _host.config = SimpleNamespace(
            settings=lambda: dumps(settings),
            service=lambda: prefix + definition.name,
            node_id=lambda: "mock-node",
            namespace=lambda: "",
        )
        _host.cacher = _Cacher(self.cache)
        try:
            return function(*arguments)
        except _host.Err as error:
            raise from_failure(error.value) from None
        finally:
            _host.logger, _host.config, _host.cacher = before

    def _log(self, level, message, fields):
        line = LogLine(level.name.lower(), message, loads(fields) if fields else {})
        self.logs.append(line)

    def _answer(self, action, payload, options):
        """The outcome of a call: a payload or chunks, or a failure."""
        params = from_payload(payload, {})
        made = MadeCall(action, params, loads(options) if options else {})
        self.calls.append(made)
        if action not in self._answers:
            error = ServiceNotFoundError(
                404, "SERVICE_NOT_FOUND", f"Service '{action}' is not found.", {"action": action}
            )
            return _host.Err(to_failure(error))
        answer = self._answers[action]
        if isinstance(answer, _Chunks):
            return answer.again()
        try:
            return to_payload(answer(params, made.options) if callable(answer) else answer)
        except Exception as error:
            return _host.Err(to_failure(error))


class _Context:
    """The context as the boundary has it."""

    def __init__(self, mock, name, identity, stream):
        self._mock = mock
        self._name = name
        self._id = identity
        self._stream = stream
        self._answered = False
        self.kind = None
        self.groups = []

    def id(self):
        return self._id

    request_id = id

    def parent_id(self):
        return None

    def caller(self):
        return self._mock.caller

    def level(self):
        return 1

    def node_id(self):
        return "mock-node"

    def name(self):
        return self._name

    def event_type(self):
        return self.kind

    def event_groups(self):
        return self.groups

    def meta(self):
        return dumps(self._mock.meta)

    def set_meta(self, text):
        self._mock.meta.update(loads(text))

    def headers(self):
        return dumps(self._mock.headers)

    def set_response_headers(self, text):
        self._mock.response_headers.update(loads(text))

    def remaining_time(self):
        return None

    def cause(self):
        cause = getattr(self._mock, "cause", None)
        return None if cause is None else to_failure(cause)

    def stream(self):
        stream, self._stream = self._stream, None
        return stream

    def respond_stream(self, object_mode):
        writer = _Writer(object_mode)
        self._mock.streams.append(writer.written)
        return writer

    def call(self, action, params, options):
        answer = self._mock._answer(action, params, options)
        if isinstance(answer, _host.Err):
            raise answer
        return answer

    def start_call(self, action, params, options):
        return _Pending(self._mock._answer(action, params, options))

    def start_stream_call(self, action, params, options, object_mode):
        writer = _Writer(object_mode)
        self._mock.streams.append(writer.written)
        return writer, self.start_call(action, params, options)

    def mcall(self, calls, options):
        wanted, options = loads(calls), loads(options) if options else {}
        settled = options.pop("settled", False)

        def one(item):
            more = {**options, **(item.get("options") or {})}
            params = to_payload(item["params"] if "params" in item else ABSENT)
            answer = self._mock._answer(item["action"], params, dumps(more))
            if isinstance(answer, _host.Err):
                if not settled:
                    raise answer
                reason = from_failure(answer.value).to_json()
                return {"status": "rejected", "reason": reason}
            value = from_payload(answer)
            return {"status": "fulfilled", "value": value} if settled else value

        if isinstance(wanted, dict):
            return to_payload({key: one(item) for key, item in wanted.items()})
        return to_payload([one(item) for item in wanted])

    def emit(self, event, data, options):
        self._send("emit", event, data, options)

    def broadcast(self, event, data, options):
        self._send("broadcast", event, data, options)

    def broadcast_local(self, event, data, options):
        self._send("broadcastLocal", event, data, options)

    def _send(self, kind, event, data, options):
        options = loads(options) if options else {}
        self._mock.events.append(SentEvent(kind, event, from_payload(data), options))

    def wait_for_services(self, services, timeout):
        pass

    def __exit__(self, kind, error, trace):
        pass


class _Pending:
    """A call in flight: in a mock it is done at once."""

    def __init__(self, answer):
        self._reader = answer if isinstance(answer, _Chunks) else None
        self._result = answer

    def take(self):
        result, self._result = self._result, None
        if result is None or isinstance(result, _host.Err):
            return result
        value = _host.Payload_Absent() if self._reader else result
        return SimpleNamespace(value=value)

    def take_stream(self):
        reader, self._reader = self._reader, None
        return reader

    def __exit__(self, kind, error, trace):
        pass


class _Chunks:
    """A stream that is read."""

    def __init__(self, chunks):
        self._chunks = chunks
        self._next = 0

    def again(self):
        return _Chunks(self._chunks)

    def object_mode(self):
        return bool(self._chunks) and not isinstance(self._chunks[0], (bytes, bytearray))

    def read(self):
        if self._next >= len(self._chunks):
            return None
        self._next += 1
        return to_payload(self._chunks[self._next - 1])

    def __exit__(self, kind, error, trace):
        pass


class _Writer:
    """A stream that is written."""

    def __init__(self, object_mode):
        self.written = WrittenStream(object_mode)

    def object_mode(self):
        return self.written.object_mode

    def write(self, payload):
        self.written.chunks.append(from_payload(payload))

    def end(self):
        self.written.end = "end"

    def fail(self, failure):
        self.written.end = from_failure(failure)

    def __exit__(self, kind, error, trace):
        pass


class _Cacher:
    """A cacher without a clock: what is kept stays."""

    def __init__(self, values):
        self._values = values

    def enabled(self):
        return True

    def get(self, key):
        found = self.get_with_ttl(key)
        return found and found[0]

    def get_with_ttl(self, key):
        if key not in self._values:
            return None
        value, ttl = self._values[key]
        return to_payload(value), ttl

    def set(self, key, payload, ttl):
        self._values[key] = (from_payload(payload), ttl)

    def del_(self, keys):
        for key in keys:
            self._values.pop(key, None)

    def clean(self, patterns):
        gone = [k for k in self._values for p in patterns if pattern_matches(p, k)]
        for key in gone:
            self._values.pop(key, None)


