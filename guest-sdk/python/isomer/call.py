"""Requests to the broker as things that can be awaited.

A call is sent when somebody awaits it (or by `start`). Each can also be done by `wait()`, in a handler that
is no `async def`.
"""

from isomer._host import Err, Payload_Absent
from isomer.errors import MoleculerError, from_failure
from isomer.loop import LOOP, release
from isomer.payload import clean, dumps, from_payload, to_payload
from isomer.stream import Reader, Writer

__isomer_inside__ = True

OPTIONS = {
    "node_id": "nodeID",
    "request_id": "requestID",
    "fallback_response": "fallbackResponse",
    "throw_error": "throwError",
}
"""Names of options that are written otherwise in Python; all others are Moleculer's own."""


def options_text(options):
    """The JSON text of options given as keywords; `None` when there are none."""
    if not options:
        return None
    return dumps({OPTIONS.get(name, name): value for name, value in options.items()})


class Done:
    """What has happened already; awaiting it costs nothing and gives `None`."""

    __slots__ = ()

    def __await__(self):
        return iter(())

    def wait(self):
        """As `await`."""


DONE = Done()
_OPEN = object()


class Call:
    """A call of an action, from `ctx.call`."""

    __slots__ = ("_raw", "_action", "_params", "_options", "_future", "_absent", "_value")

    def __init__(self, raw, action, params, options, absent=None):
        self._raw = raw
        self._action = clean(action)
        self._params = to_payload(params)
        self._options = options_text(options)
        self._future = None
        self._absent = absent
        self._value = _OPEN

    def start(self):
        """Sends the call at once; awaiting it later gives its result."""
        if self._future is None:
            sent = self._raw.start_call(self._action, self._params, self._options)
            self._future = LOOP.wait_for_call(sent)
        return self

    def wait(self):
        """Sends the call and waits for its result, without `async`."""
        if self._future is not None:
            return self._take(_block(self._future))
        try:
            answer = self._raw.call(self._action, self._params, self._options)
        except Err as error:
            raise from_failure(error.value) from None
        return from_payload(answer, self._absent)

    def __await__(self):
        if self._future is None:
            if LOOP.is_idle():
                return self.wait()
            self.start()
        return self._take((yield from self._future))

    def _take(self, result):
        """The value of a call that is done; also when it is asked for again."""
        if self._value is _OPEN:
            self._value = self._read(*result)
        return self._value

    def _read(self, payload, sent):
        # A stream in the place of a value would else be lost without a word.
        reader = sent.take_stream() if type(payload) is Payload_Absent else None
        release(sent)
        if reader is not None:
            release(reader)
            raise MoleculerError(
                422,
                "INVALID_PAYLOAD",
                "The result of the call is a stream; ask for it with `ctx.call_stream`.",
                name="InvalidPayloadError",
            )
        return from_payload(payload, self._absent)


class StreamCall:
    """A call that is answered with a stream, from `ctx.call_stream`; awaiting it gives the `Reader`."""

    __slots__ = ("_call",)

    def __init__(self, call):
        self._call = call

    def wait(self):
        """As `await`."""
        return self._reader(_block(self._call.start()._future))

    def __await__(self):
        return self._reader((yield from self._call.start()._future))

    @staticmethod
    def _reader(result):
        _, sent = result
        try:
            reader = sent.take_stream()
        except Err as error:
            raise from_failure(error.value) from None
        finally:
            release(sent)
        if reader is None:
            raise MoleculerError(
                422, "INVALID_PAYLOAD", "The call was not answered with a stream."
            )
        return Reader(reader)


class SendingCall(Call):
    """A call that sends a stream beside its params, from `ctx.send_stream`: write to `writer`, then await."""

    __slots__ = ("writer",)

    def __init__(self, raw, action, params, options, object_mode):
        super().__init__(raw, action, params, options)
        writer, sent = raw.start_stream_call(
            self._action, self._params, self._options, object_mode
        )
        self._future = LOOP.wait_for_call(sent)
        self.writer = Writer(writer)


class Multi:
    """Several calls at once, from `ctx.mcall`."""

    __slots__ = ("_raw", "_calls", "_options")

    def __init__(self, raw, calls, options):
        self._raw = raw
        self._calls = dumps(calls)
        self._options = options_text(options)

    def wait(self):
        """As `await`."""
        try:
            return from_payload(self._raw.mcall(self._calls, self._options))
        except Err as error:
            raise from_failure(error.value) from None

    def __await__(self):
        return self.wait()
        yield


def _block(future):
    """Waits for a call in flight without leaving the running coroutine."""
    while not future.done():
        LOOP._wait()
    return future.result()

