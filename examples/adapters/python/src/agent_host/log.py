"""The host's log as a handler of the module `logging`."""

from __future__ import annotations

import logging

from wit_world.imports import logging as host

from agent_host.errors import passable


class HostHandler(logging.Handler):
    """Writes records to the host's log, which adds the time and the name of the component."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            host.log(_level(record.levelno), passable(record.name), passable(self.format(record)))
        except Exception:
            self.handleError(record)


def _level(number: int) -> host.Level:
    """The host's level for one of Python's, which are numbers with room between them."""
    if number >= logging.CRITICAL:
        return host.Level.CRITICAL
    if number >= logging.ERROR:
        return host.Level.ERROR
    if number >= logging.WARNING:
        return host.Level.WARN
    if number >= logging.INFO:
        return host.Level.INFO
    return host.Level.DEBUG


def install() -> None:
    """Sends all that is logged to the host, whose own filter decides what is kept."""
    root = logging.getLogger()
    root.handlers = [HostHandler()]
    root.setLevel(logging.DEBUG)
