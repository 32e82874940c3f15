"""Streams: what a caller sends beside its params, what an action answers with, and both from the caller's
side.

A stream is made of `bytes` or, in object mode, of JSON values. Reading and writing wait in the node while
the other side is behind, for the whole instance; the node does other work meanwhile. Ends belong to the
handler in which they were made and are closed when it returns.
"""

from isomer._host import Err
from isomer.errors import from_failure, to_failure
from isomer.payload import from_payload, to_payload

__isomer_inside__ = True


class Reader:
    """A stream to be read: `for chunk in reader`, `async for chunk in reader`, or `read()`."""

    __slots__ = ("_raw",)

    def __init__(self, raw):
        self._raw = raw

    @property
    def object_mode(self):
        """True when each chunk is one JSON value, false when each is some bytes."""
        return self._raw.object_mode()

    def next(self):
        """The next chunk in a tuple of one; `None` at the end.

        Raises the error of the source; type `STREAM_ABORTED` when it went away before the end.
        """
        try:
            chunk = self._raw.read()
        except Err as error:
            raise from_failure(error.value) from None
        return None if chunk is None else (from_payload(chunk),)

    def read(self):
        """All that is left: one `bytes`, or a list of the values in object mode. Mind the memory."""
        chunks = list(self)
        return chunks if self.object_mode else b"".join(chunks)

    def close(self):
        """Tells the writer that nobody reads any more."""
        raw, self._raw = self._raw, CLOSED
        raw.__exit__(None, None, None)

    def __iter__(self):
        return self

    def __next__(self):
        step = self.next()
        if step is None:
            raise StopIteration
        return step[0]

    def __aiter__(self):
        return self

    async def __anext__(self):
        step = self.next()
        if step is None:
            raise StopAsyncIteration
        return step[0]


class Writer:
    """A stream to be written. It has to be ended: `with` does it, and fails the stream on an exception."""

    __slots__ = ("_raw",)

    def __init__(self, raw):
        self._raw = raw

    @property
    def object_mode(self):
        """True when each chunk has to be one JSON value, false when each has to be bytes."""
        return self._raw.object_mode()

    def write(self, chunk):
        """Adds a chunk, after waiting while the reader is behind.

        Raises an error of type `STREAM_CLOSED` when nobody reads any more.
        """
        _do(self._raw.write, to_payload(chunk))

    def end(self):
        """Ends the stream: all chunks are written."""
        _do(self._raw.end)

    def fail(self, error):
        """Ends the stream with an error, which the reader gets."""
        self._raw.fail(to_failure(error))

    def __enter__(self):
        return self

    def __exit__(self, kind, error, trace):
        if error is None:
            self.end()
        else:
            self.fail(error)

    async def __aenter__(self):
        return self

    async def __aexit__(self, kind, error, trace):
        self.__exit__(kind, error, trace)


class _Closed:
    """In the place of a stream that was closed."""

    @staticmethod
    def object_mode():
        return False

    @staticmethod
    def read():
        return None

    @staticmethod
    def __exit__(kind, error, trace):
        pass


CLOSED = _Closed()


def _do(function, *args):
    try:
        function(*args)
    except Err as error:
        raise from_failure(error.value) from None
