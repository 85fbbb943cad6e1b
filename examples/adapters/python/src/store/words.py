"""What differs between the databases. Everything else is written in the SQL that they share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from agent_host.sql import Dialect

if TYPE_CHECKING:
    from agent_host.sql import Executor


@dataclass(frozen=True)
class Words:
    # A key that the database gives.
    key: str
    integer: str
    blob: str
    # Text that is compared and sorted byte by byte.
    name: str
    # What stands behind a table's columns.
    table: str
    # The clock, in Unix milliseconds.
    now: str
    # What stands behind a query for rows that nobody else may change until the transaction ends.
    for_update: str
    # Lets one transaction at a time define tables.
    lock_schema: str | None
    # Keeps the session (?1), if it has the epoch (?2), as it is until the batch ends.
    lock_session: str | None


WORDS: Final = {
    # A transaction that may write is alone, so there is nothing to lock.
    Dialect.SQLITE: Words(
        key="INTEGER PRIMARY KEY",
        integer="INTEGER",
        blob="BLOB",
        name="TEXT",
        table="STRICT",
        now="CAST(ROUND((julianday('now') - 2440587.5) * 86400000) AS INTEGER)",
        for_update="",
        lock_schema=None,
        lock_session=None,
    ),
    Dialect.POSTGRESQL: Words(
        key="BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY",
        integer="BIGINT",
        blob="BYTEA",
        name='TEXT COLLATE "C"',
        table="",
        # Not `now()`, which is when the transaction began: it may have waited since.
        now="CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000 AS BIGINT)",
        for_update="FOR UPDATE",
        # The number is only this adapter's own: "python" in ASCII.
        lock_schema="SELECT pg_advisory_xact_lock(123666946355054)",
        # A batch takes no query, so no SELECT FOR UPDATE.
        lock_session="UPDATE sessions SET epoch = epoch WHERE id = ?1 AND epoch = ?2",
    ),
}


def words(executor: Executor) -> Words:
    return WORDS[executor.dialect]
