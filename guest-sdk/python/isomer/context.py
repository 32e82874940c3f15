"""The context of a running handler: who called, with which meta, and the way to everything else.

Fields are read from the node when they are asked for. Calls and events made here carry the chain's request
ID, meta and remaining time; the node makes that link. A context is over when its handler has returned.
"""

from isomer import _host
from isomer._host import EVENT_TYPES, Err
from isomer.cacher import CACHER
from isomer.call import DONE, Call, Multi, SendingCall, StreamCall, options_text
from isomer.errors import MoleculerError, from_failure
from isomer.logger import LOGGER
from isomer.payload import ABSENT, clean, dumps, loads, to_payload
from isomer.stream import Reader, Writer

__isomer_inside__ = True


class Meta(dict):
    """The meta of the chain as it is now; what is put into it goes to the node at once.

    Only whole keys are noticed: `ctx.meta["user"] = …`, not a change inside of a value.
    """

    __slots__ = ("_raw",)

    def __setitem__(self, key, value):
        self.update({key: value})

    def update(self, *args, **more):
        changes = dict(*args, **more)
        _set(self._raw.set_meta, changes)
        super().update(changes)

    def setdefault(self, key, default=None):
        if key not in self:
            self[key] = default
        return self[key]

    def _fixed(self, *args):
        raise TypeError("keys cannot be taken out of the meta; set them to None")

    __delitem__ = pop = popitem = clear = _fixed


class Context:
    """The context of one running action, event or lifecycle handler."""

    __slots__ = ("_raw", "_locals")

    def __init__(self, raw):
        self._raw = raw
        self._locals = None

    @property
    def id(self):
        """The ID of this call or event."""
        return self._raw.id()

    @property
    def request_id(self):
        """The ID that all calls and events of one chain share."""
        return self._raw.request_id()

    @property
    def parent_id(self):
        """The ID of the context that caused this one; `None` at the root of a chain."""
        return self._raw.parent_id()

    @property
    def caller(self):
        """The full name of the calling service, such as `v2.posts`."""
        return self._raw.caller()

    @property
    def level(self):
        """How deep this context stands in its chain; 1 at the root."""
        return self._raw.level()

    @property
    def node_id(self):
        """The node that the call or event came from."""
        return self._raw.node_id()

    @property
    def name(self):
        """The full name of the running action, or the name under which the event was sent."""
        return self._raw.name()

    @property
    def event_type(self):
        """How the event was sent: `emit`, `broadcast` or `broadcastLocal`; `None` in an action."""
        return EVENT_TYPES.get(self._raw.event_type())

    @property
    def event_groups(self):
        """The groups that the event is for; empty when it is for all of them."""
        return self._raw.event_groups()

    @property
    def remaining_time(self):
        """Milliseconds until the caller gives up or the node stops this handler; `None` without a limit."""
        return self._raw.remaining_time()

    @property
    def meta(self):
        """The meta of the chain, read anew each time. What is put into it reaches the caller and further
        calls."""
        meta = Meta(loads(self._raw.meta()))
        meta._raw = self._raw
        return meta

    def set_meta(self, *args, **keys):
        """Puts keys over the meta: `ctx.set_meta(user="ada")` or `ctx.set_meta({"user": "ada"})`."""
        _set(self._raw.set_meta, dict(*args, **keys))

    @property
    def headers(self):
        """The headers of the request. They are not passed on to nested calls."""
        return loads(self._raw.headers())

    def set_response_headers(self, *args, **keys):
        """Puts keys over the headers of the response."""
        _set(self._raw.set_response_headers, dict(*args, **keys))

    @property
    def cause(self):
        """The error for which a fallback runs; `None` everywhere else."""
        failure = self._raw.cause()
        return None if failure is None else from_failure(failure)

    @property
    def locals(self):
        """Values that hooks leave for the action; nothing of it leaves the service."""
        if self._locals is None:
            self._locals = {}
        return self._locals

    @property
    def settings(self):
        """The settings of the service: those of its schema, overlaid with the operator's."""
        return loads(_host.config.settings())

    @property
    def service(self):
        """The full name of this service, such as `v2.posts`."""
        return _host.config.service()

    @property
    def local_node_id(self):
        """The ID of the node on which this service runs."""
        return _host.config.node_id()

    @property
    def namespace(self):
        """The namespace of the mesh; empty for the default one."""
        return _host.config.namespace()

    @property
    def cacher(self):
        """The cacher of the node."""
        return CACHER

    @property
    def logger(self):
        """The log of the node."""
        return LOGGER

    def call(self, action, params=ABSENT, **options):
        """Calls an action: `await ctx.call("users.get", {"id": 5}, timeout=2000)`.

        Options are Moleculer's: `timeout` (milliseconds), `retries`, `node_id`, `meta`, `headers`,
        `request_id`, `fallback_response`, `tracking`. Calls that are gathered are in flight at once.
        """
        return Call(self._raw, action, params, options)

    def call_own(self, action, params=ABSENT, **options):
        """Calls an action of this very service by its own name, also a private one, with all that the
        node does around a call."""
        prefix = "" if self.settings.get("$noServiceNamePrefix") is True else f"{self.service}."
        return Call(self._raw, prefix + action, params, options)

    def call_stream(self, action, params=ABSENT, **options):
        """Calls an action that answers with a stream: `reader = await ctx.call_stream("files.get")`."""
        return StreamCall(Call(self._raw, action, params, options))

    def send_stream(self, action, params=ABSENT, *, object_mode=False, **options):
        """Calls an action and sends a stream beside the params: write to the call's `writer`, end it, and
        await the call."""
        return SendingCall(self._raw, action, params, options, object_mode)

    def mcall(self, calls, **options):
        """Makes several calls at once: a list or dict of `{"action", "params", "options"}` gives a list
        or dict of results. With `settled=True` it never fails."""
        return Multi(self._raw, calls, options)

    def emit(self, event, data=ABSENT, **options):
        """Sends an event to one instance of every group that listens. Options: `groups`, `meta`,
        `headers`, `request_id`, `throw_error`. It may be awaited, and need not."""
        return _send(self._raw.emit, event, data, options)

    def broadcast(self, event, data=ABSENT, **options):
        """Sends an event to every instance that listens, on all nodes."""
        return _send(self._raw.broadcast, event, data, options)

    def broadcast_local(self, event, data=ABSENT, **options):
        """Sends an event to every instance that listens on this node."""
        return _send(self._raw.broadcast_local, event, data, options)

    def wait_for_services(self, *services, timeout=None):
        """Waits until all these services are available (full names). `timeout` is in milliseconds."""
        names = [clean(name) for item in services for name in _names(item)]
        try:
            self._raw.wait_for_services(names, timeout)
        except Err as error:
            raise from_failure(error.value) from None
        return DONE

    def stream(self):
        """The stream that the caller sends beside the params, as a `Reader`; `None` when there is none."""
        reader = self._raw.stream()
        return None if reader is None else Reader(reader)

    def respond_stream(self, object_mode=False):
        """Answers the caller at once with a stream and gives its `Writer`. What the handler returns then
        is ignored; an exception fails the stream."""
        try:
            return Writer(self._raw.respond_stream(object_mode))
        except Err as error:
            raise from_failure(error.value) from None

    def to_json(self):
        """The fields under Moleculer's names, for logs and tests."""
        event = self.event_type
        return {
            "id": self.id,
            "nodeID": self.node_id,
            "action": None if event else {"name": self.name},
            "eventName": self.name if event else None,
            "eventType": event,
            "eventGroups": self.event_groups,
            "parentID": self.parent_id,
            "requestID": self.request_id,
            "caller": self.caller,
            "level": self.level,
            "meta": dict(self.meta),
            "headers": self.headers,
            "service": {"fullName": self.service},
        }


class _Over:
    """In the place of a context whose handler has returned."""

    def __getattr__(self, name):
        raise MoleculerError(
            500,
            "CONTEXT_IS_OVER",
            f"ctx.{name} was used after its handler had returned; await everything that a handler starts",
        )


OVER = _Over()


def _names(item):
    return [item] if isinstance(item, str) else list(item)


def _set(function, keys):
    try:
        function(dumps(keys))
    except Err as error:
        raise from_failure(error.value) from None


def _send(function, event, data, options):
    try:
        function(clean(event), to_payload(data), options_text(options))
    except Err as error:
        raise from_failure(error.value) from None
    return DONE
