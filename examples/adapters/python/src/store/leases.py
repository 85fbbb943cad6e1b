"""Leases: who may write a session, by the database's clock."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent_host import Lease, Owner
from agent_host.sql import Statement
from store.fence import no_such_session
from store.words import words

if TYPE_CHECKING:
    from agent_host.sql import Connection, Executor


def acquire(connection: Connection, session: str, owner: Owner, time_to_live: int) -> Lease:
    to = words(connection)
    with connection.transaction() as transaction:
        # Whoever comes second waits here, and then sees the lease of the first.
        if not transaction.query_one(
            f"SELECT 1 FROM sessions WHERE id = ?1 {to.for_update}", (session,)
        ):
            raise no_such_session(session)
        # Its owner cannot renew it from here on.
        last = _last(transaction, session, to.for_update)
        if last and last.owner.id != owner.id:
            if last.expires_in:
                return last
            # The owner before may still think that it has the session, and can write no more.
            transaction.execute("UPDATE sessions SET epoch = epoch + 1 WHERE id = ?1", (session,))
        transaction.execute(
            f"""INSERT INTO leases (session, owner, address, expires)
                VALUES (?1, ?2, ?3, {to.now} + ?4)
                ON CONFLICT (session) DO UPDATE SET owner = excluded.owner,
                    address = excluded.address, expires = excluded.expires""",
            (session, owner.id, owner.address, time_to_live),
        )
        return Lease(owner, time_to_live)


def renew(connection: Connection, owner: str, time_to_live: int, sessions: list[str]) -> list[str]:
    renew_one = f"""UPDATE leases SET expires = {words(connection).now} + ?3
                    WHERE session = ?1 AND owner = ?2"""
    renewed = connection.batch(
        Statement(renew_one, (session, owner, time_to_live)) for session in sessions
    )
    return [session for session, count in zip(sessions, renewed, strict=True) if not count]


def release(connection: Connection, session: str, owner: str) -> None:
    connection.execute("DELETE FROM leases WHERE session = ?1 AND owner = ?2", (session, owner))


def get(connection: Connection, session: str) -> Lease | None:
    return _last(connection, session)


def _last(executor: Executor, session: str, for_update: str = "") -> Lease | None:
    row = executor.query_one(
        f"""SELECT owner, address, expires - {words(executor).now} FROM leases
            WHERE session = ?1 {for_update}""",
        (session,),
    )
    if row is None:
        return None
    owner, address, rest = row
    return Lease(Owner(owner, address), max(0, rest))
