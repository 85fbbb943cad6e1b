"""The tables, and how they came to be: numbered migrations, each of which is run once."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from agent_host import AdapterError, Corrupt, Other
from store.words import words

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from agent_host.sql import Connection, Executor
    from store.words import Words

logger = logging.getLogger(__name__)


def _first(to: Words) -> Sequence[str]:
    return (
        f"""CREATE TABLE sessions (
            id {to.name} PRIMARY KEY,
            epoch {to.integer} NOT NULL,
            created_at {to.integer} NOT NULL,
            last_activity {to.integer} NOT NULL,
            profile TEXT NOT NULL,
            architecture TEXT NOT NULL,
            name TEXT,
            options TEXT,
            extra TEXT
        ) {to.table}""",
        # The order of a listing.
        "CREATE INDEX sessions_by_creation ON sessions (created_at, id)",
        f"""CREATE TABLE streams (
            key {to.key},
            session {to.name} NOT NULL REFERENCES sessions ON DELETE CASCADE,
            name {to.name} NOT NULL,
            length {to.integer} NOT NULL,
            UNIQUE (session, name)
        ) {to.table}""",
        # An append is rows of its own, however long the stream is. Each begins where the one before
        # it ends.
        f"""CREATE TABLE stream_chunks (
            stream {to.integer} NOT NULL REFERENCES streams ON DELETE CASCADE,
            start {to.integer} NOT NULL,
            data {to.blob} NOT NULL,
            PRIMARY KEY (stream, start)
        ) {to.table}""",
        f"""CREATE TABLE files (
            key {to.key},
            session {to.name} NOT NULL REFERENCES sessions ON DELETE CASCADE,
            path {to.name} NOT NULL,
            size {to.integer} NOT NULL,
            sha256 TEXT NOT NULL,
            created_at {to.integer} NOT NULL,
            modified_at {to.integer} NOT NULL,
            extra TEXT,
            UNIQUE (session, path)
        ) {to.table}""",
        # Contents have a table of their own, so that the list of files is read without them.
        f"""CREATE TABLE file_chunks (
            file {to.integer} NOT NULL REFERENCES files ON DELETE CASCADE,
            start {to.integer} NOT NULL,
            data {to.blob} NOT NULL,
            PRIMARY KEY (file, start)
        ) {to.table}""",
        f"""CREATE TABLE profiles (
            id {to.name} PRIMARY KEY,
            name TEXT NOT NULL,
            description TEXT,
            document TEXT NOT NULL
        ) {to.table}""",
        f"""CREATE TABLE leases (
            session {to.name} PRIMARY KEY REFERENCES sessions ON DELETE CASCADE,
            owner TEXT NOT NULL,
            address TEXT NOT NULL,
            expires {to.integer} NOT NULL
        ) {to.table}""",
    )


# One that was released is never changed: a new one is added behind it.
MIGRATIONS: Final[Sequence[Callable[[Words], Sequence[str]]]] = (_first,)

VERSION: Final = len(MIGRATIONS)


def migrate(connection: Connection) -> None:
    """Brings the database to this version, whatever other instances do at the same time."""
    try:
        if _version(connection) == VERSION:
            return
    except AdapterError:
        # Mostly because the table is missing. Where it is something else, what follows tells.
        pass
    to = words(connection)
    with connection.transaction() as transaction:
        if to.lock_schema:
            transaction.query_one(to.lock_schema)
        # Its name is this adapter's own: tables of another one have another version.
        transaction.execute(
            f"CREATE TABLE IF NOT EXISTS python_schema (version {to.integer} NOT NULL) {to.table}"
        )
        found = _version(transaction) or 0
        if found > VERSION:
            raise Other(
                f"the database has version {found} of the schema, and this adapter knows "
                f"{VERSION}: a newer one has opened it"
            )
        if found == VERSION:
            return  # Another instance was faster.
        for migration in MIGRATIONS[found:]:
            for statement in migration(to):
                transaction.execute(statement)
        transaction.execute("DELETE FROM python_schema")
        transaction.execute("INSERT INTO python_schema (version) VALUES (?1)", (VERSION,))
    logger.info("brought the schema from version %d to %d", found, VERSION)


def check(connection: Connection) -> None:
    """Whether the database answers, and has tables. Their version is not looked at: while a newer
    adapter takes over, this one still serves.
    """
    if _version(connection) is None:
        raise Corrupt("the schema has no version")


def _version(executor: Executor) -> int | None:
    row = executor.query_one("SELECT version FROM python_schema")
    return None if row is None else int(row[0])
