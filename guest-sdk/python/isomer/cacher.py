"""The cacher of the node: values that a service keeps under keys of its own.

A service may use keys that begin with its own full name and a dot or a colon; its operator can grant
others. The functions wait in the node and are not awaited.
"""

from isomer import _host
from isomer._host import Err
from isomer.errors import from_failure
from isomer.payload import clean, from_payload, to_payload

__isomer_inside__ = True


class Cacher:
    """From `ctx.cacher`."""

    __slots__ = ()

    @property
    def enabled(self):
        """Whether the node has a cacher that can be reached now."""
        return _host.cacher.enabled()

    def get(self, key, default=None):
        """The value of a key; `default` when there is none."""
        found = _do(_host.cacher.get, clean(key))
        return default if found is None else from_payload(found)

    def get_with_ttl(self, key):
        """The value of a key and the seconds that it will be kept (`None`: for ever); `None` when there is
        no value."""
        found = _do(_host.cacher.get_with_ttl, clean(key))
        return None if found is None else (from_payload(found[0]), found[1])

    def set(self, key, value, ttl=None):
        """Keeps a value for `ttl` seconds; 0 is for ever, `None` what the node's options say."""
        _do(_host.cacher.set, clean(key), to_payload(value), None if ttl is None else float(ttl))

    def delete(self, *keys):
        """Removes the values of keys."""
        _do(_host.cacher.del_, [clean(key) for key in keys])

    def clean(self, *patterns):
        """Removes the values whose keys match: `posts.**`."""
        _do(_host.cacher.clean, [clean(pattern) for pattern in patterns])


CACHER = Cacher()


def _do(function, *args):
    try:
        return function(*args)
    except Err as error:
        raise from_failure(error.value) from None
