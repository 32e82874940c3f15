"""The errors of a service: what a handler raises for its caller and what a failed call raises.

They have the fields of Moleculer's errors. One that came from another service, whatever its language or
node, keeps all of them, so that letting it pass hands it on unchanged. Every other exception becomes an
error with its class as name, code 500 and Python's traceback as stack.
"""

import traceback

from isomer._host import Err, Failure
from isomer.payload import clean, dumps, loads

STACK_LEN_MAX = 8000
"""Characters of a traceback that are sent; the end of it is what tells most."""

_UNSET = object()


class MoleculerError(Exception):
    """An error with Moleculer's fields: `MoleculerError(500, "BROKEN", "it is broken", data={…})`.

    `code` is by convention HTTP's, `type` a word for programs, `data` whatever else the caller should know
    (anything with a JSON form), `retryable` whether the same call may succeed when it is tried again, and
    `name` the class by which JavaScript callers restore the error. Further keywords become further fields.
    """

    NAME = "MoleculerError"
    RETRYABLE = False

    def __init__(
        self, code=500, type=None, message="", data=None, *, name=None, retryable=None, **extra
    ):
        super().__init__(message)
        self.code = code
        self.type = type
        self.message = message
        self.name = self.NAME if name is None else name
        self.retryable = self.RETRYABLE if retryable is None else retryable
        self.stack = None
        self._data = data
        self._data_text = None
        self._extra = extra
        self._extra_text = None
        # One that came from elsewhere is passed on without this place in its stack.
        self._foreign = False

    @property
    def data(self):
        """What else the origin told; read when it is asked for."""
        if self._data is _UNSET:
            self._data = None if self._data_text is None else loads(self._data_text)
        return self._data

    @data.setter
    def data(self, value):
        self._data, self._data_text = value, None

    @property
    def extra(self):
        """Fields that have no attribute of their own, such as `nodeID`."""
        if self._extra is _UNSET:
            self._extra = {} if self._extra_text is None else loads(self._extra_text)
        return self._extra

    @property
    def node_id(self):
        """The node on which the error arose, when it came from a call."""
        return self.extra.get("nodeID")

    def to_json(self):
        """The form that the error has on the wire; fields that are not there are left out."""
        fields = dict(self.extra)
        own = {
            "name": self.name,
            "message": self.message,
            "code": self.code,
            "type": self.type,
            "retryable": self.retryable,
            "data": self.data,
            "stack": self.stack,
        }
        fields.update((key, value) for key, value in own.items() if value is not None)
        return fields

    @staticmethod
    def from_json(fields):
        """The error of a form that `to_json` made, or of a rejected item of a settled `mcall`."""
        rest = dict(fields)
        name = rest.pop("name", None) or "Error"
        error = _of_class(name)
        error.message = str(rest.pop("message", ""))
        error.args = (error.message,)
        code = rest.get("code")
        error.code = rest.pop("code") if _is_code(code) else None
        error.type = rest.pop("type") if isinstance(rest.get("type"), str) else None
        error.stack = rest.pop("stack") if isinstance(rest.get("stack"), str) else None
        error.retryable = bool(rest.pop("retryable", False))
        error._data = rest.pop("data", None)
        error._extra = {key: value for key, value in rest.items() if value is not None}
        return error

    def __str__(self):
        kind = f" ({self.type})" if self.type else ""
        return f"{self.message}{kind}"


class RetryableError(MoleculerError):
    """The same call may succeed when it is tried again."""

    NAME = "MoleculerRetryableError"
    RETRYABLE = True


class ServerError(RetryableError):
    """The service failed: `ServerError(503, "DATABASE_AWAY", "the database is away")`."""

    NAME = "MoleculerServerError"


class ClientError(MoleculerError):
    """The caller did something wrong: `ClientError(404, "NOT_FOUND", "there is no post 5")`."""

    NAME = "MoleculerClientError"


class ValidationError(ClientError):
    """The params do not fit: `ValidationError("age is missing", data=[…])`. Code 422."""

    NAME = "ValidationError"

    def __init__(self, message="Parameters validation error!", data=None, *, type=None, **extra):
        super().__init__(422, type or "VALIDATION_ERROR", message, data, **extra)


class ServiceNotFoundError(RetryableError):
    """Nobody ever offered the action."""

    NAME = "ServiceNotFoundError"


class ServiceNotAvailableError(RetryableError):
    """The action is known, but nobody offers it now."""

    NAME = "ServiceNotAvailableError"


class RequestTimeoutError(RetryableError):
    """No answer came in time."""

    NAME = "RequestTimeoutError"


class QueueIsFullError(RetryableError):
    """The service has more calls waiting than it may have."""

    NAME = "QueueIsFullError"


_CLASSES = {
    kind.NAME: kind
    for kind in (
        MoleculerError,
        RetryableError,
        ServerError,
        ClientError,
        ValidationError,
        ServiceNotFoundError,
        ServiceNotAvailableError,
        RequestTimeoutError,
        QueueIsFullError,
    )
}


def _of_class(name):
    """An error without fields whose class goes with a name."""
    kind = _CLASSES.get(name, MoleculerError)
    error = kind.__new__(kind)
    MoleculerError.__init__(error, name=name)
    return error


def _is_code(code):
    return isinstance(code, int) and not isinstance(code, bool) and 0 <= code < 2**32


def from_failure(failure):
    """The error of a failed call."""
    error = _of_class(failure.name)
    error.message = failure.message
    error.args = (failure.message,)
    error.code = failure.code
    error.type = failure.type
    error.retryable = failure.retryable
    error.stack = failure.stack
    error._data, error._data_text = _UNSET, failure.data
    error._extra, error._extra_text = _UNSET, failure.extra
    error._foreign = True
    return error


def to_failure(error):
    """What the caller of a handler gets for an exception. Never raises."""
    try:
        return _to_failure(error)
    except Exception as problem:
        message = f"{type(error).__name__}, which cannot be described: {type(problem).__name__}"
        return Failure("MoleculerError", message, 500, None, False, None, None, None)


def _to_failure(error):
    if isinstance(error, Err) and isinstance(error.value, Failure):
        return error.value
    if not isinstance(error, MoleculerError):
        name, message = type(error).__name__, clean(str(error) or type(error).__name__)
        return Failure(name, message, 500, None, False, None, _stack(error), None)
    data = error._data_text
    if error._data is not _UNSET:
        data = None if error._data is None else dumps(error._data)
    extra = error._extra_text
    if error._extra is not _UNSET:
        extra = dumps(error._extra) if error._extra else None
    code = error.code
    if code is not None and not _is_code(code):
        code = int(code) if isinstance(code, float) and 0 <= code < 2**32 else 500
    stack = clean(error.stack) if error.stack else None if error._foreign else _stack(error)
    kind = None if error.type is None else clean(error.type)
    name, message = clean(error.name), clean(error.message)
    return Failure(name, message, code, kind, bool(error.retryable), data, stack, extra)


def _stack(error):
    """The traceback from the first line of the user's on."""
    trace = error.__traceback__
    while trace is not None and trace.tb_frame.f_globals.get("__isomer_inside__"):
        trace = trace.tb_next
    text = "".join(traceback.format_exception(type(error), error, trace))
    return clean(text[-STACK_LEN_MAX:])
