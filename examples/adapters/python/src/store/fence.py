"""The epoch that guards every write to a session.

A write is a batch whose statements have the session as ?1 and the epoch as ?2. The first claims the
session, which changes one row or, if there is no such session or the epoch is too low, none; until
the batch ends nobody else can do the same. The others hold to `CLAIMED`, so that they do nothing
after a claim that failed.
"""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING, Final

from agent_host import AdapterError, NotFound, StaleEpoch, Unavailable
from agent_host.sql import Statement

if TYPE_CHECKING:
    from collections.abc import Iterable

    from agent_host.sql import Connection, Executor

CLAIM: Final = "UPDATE sessions SET epoch = ?2 WHERE id = ?1 AND epoch <= ?2"

CLAIMED: Final = "EXISTS (SELECT 1 FROM sessions WHERE id = ?1 AND epoch = ?2)"


def write(
    connection: Connection, epoch: int, session: str, statements: Iterable[Statement]
) -> None:
    """Claims the session and runs the statements, all or nothing."""
    claim = Statement(CLAIM, (session, epoch))
    claimed, *_ = connection.batch(chain([claim], statements))
    if not claimed:
        raise refusal(connection, epoch, session)


def refusal(executor: Executor, epoch: int, session: str) -> AdapterError:
    """Why a claim failed."""
    row = executor.query_one("SELECT epoch FROM sessions WHERE id = ?1", (session,))
    if row is None:
        return no_such_session(session)
    (highest,) = row
    if epoch < highest:
        return StaleEpoch(highest)
    return Unavailable(f"the session {session!r} was created at this moment")


def no_such_session(session: str) -> NotFound:
    return NotFound(f"there is no session {session!r}")
