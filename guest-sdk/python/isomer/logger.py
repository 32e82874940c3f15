"""The log of the node. Lines carry the name of the service and the IDs of the running call."""

from isomer import _host
from isomer._host import Level
from isomer.payload import clean, dumps


class Logger:
    """From `ctx.logger`: `ctx.logger.info("sent", to=address)`. Keywords become fields of the line."""

    __slots__ = ()

    def enabled(self, level):
        """Whether lines of a level (`"debug"`) are written; ask before building an expensive message."""
        return _host.logger.enabled(Level[level.upper()])

    def log(self, level, message, **fields):
        """Writes a line of a level, given by its name."""
        _log(Level[level.upper()], message, fields)

    def fatal(self, message, **fields):
        """The service cannot go on."""
        _log(Level.FATAL, message, fields)

    def error(self, message, **fields):
        """A request failed and somebody should look."""
        _log(Level.ERROR, message, fields)

    def warn(self, message, **fields):
        """Unexpected, but dealt with."""
        _log(Level.WARN, message, fields)

    warning = warn

    def info(self, message, **fields):
        """What an operator wants to see in normal times."""
        _log(Level.INFO, message, fields)

    def debug(self, message, **fields):
        """For the developer of the service."""
        _log(Level.DEBUG, message, fields)

    def trace(self, message, **fields):
        """Everything."""
        _log(Level.TRACE, message, fields)


LOGGER = Logger()


def _log(level, message, fields):
    if _host.logger.enabled(level):
        _host.logger.log(level, clean(message), dumps(fields) if fields else None)
