"""What a hook may do to sessions.

A call waits for the host, and counts as the hook's own time. `Unavailable` is worth another try: an
event comes again when `on_events` raises.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from componentize_py_types import Err
from wit_world.imports import session_control as host

from agent_host.errors import from_wit
from agent_host.values import Json, from_json, passable, to_json

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(frozen=True)
class Session:
    """A session as it is now. Times are Unix milliseconds."""

    id: str
    created_at: int
    last_activity: int
    profile: str
    architecture: str
    name: str | None
    options: dict[str, Json]
    metadata: dict[str, Json]
    """Usage, cost, model and the like, and what hooks have added."""
    is_running: bool
    """Whether a turn is running."""


def get_session(session: str) -> Session:
    """A session as it is now; `NotFound` if there is none."""
    with _asking():
        state = host.get_session(passable(session))
    record = state.session
    return Session(
        id=record.id,
        created_at=record.created_at,
        last_activity=record.last_activity,
        profile=record.profile,
        architecture=record.architecture,
        name=record.name,
        options={} if record.options is None else from_json(record.options),
        metadata=from_json(state.metadata),
        is_running=state.is_running,
    )


def send_message(session: str, id: str, content: Json) -> None:
    """Sends a message, a text or a list of content blocks; it is stored when this returns.

    A message of an id that the session knows is not sent again. This hook is not asked about it.
    """
    with _asking():
        host.send_message(passable(session), passable(id), to_json(content))


def interrupt(session: str) -> bool:
    """Ends the running turn; whether there was one."""
    with _asking():
        return host.interrupt(passable(session))


def set_metadata(session: str, key: str, value: Json) -> None:
    """Puts a value into the session's metadata, under the hook's own name; `None` removes it."""
    with _asking():
        host.set_metadata(passable(session), passable(key), to_json(value))


def note(session: str, text: str) -> None:
    """Says something to the people in the conversation, as a `system` block."""
    with _asking():
        host.note(passable(session), passable(text))


def emit(session: str, name: str, data: Json) -> None:
    """Tells the session's subscribers an event `hook:<this hook's name>:<name>`, not stored."""
    with _asking():
        host.emit(passable(session), passable(name), to_json(data))


@contextmanager
def _asking() -> Iterator[None]:
    """The host's errors become exceptions of this package.

    Not raised within `except`: an `Err` is frozen, and cannot be given a context.
    """
    failure = None
    try:
        yield
    except Err as error:
        failure = from_wit(error.value)
    if failure is not None:
        raise failure
