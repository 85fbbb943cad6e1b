"""Streams: rows of bytes, and a row that says how long the stream is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent_host import OffsetMismatch
from agent_host.arguments import MAX_READ_BYTES
from agent_host.sql import Statement
from store import chunks
from store.fence import CLAIM, CLAIMED, no_such_session, refusal, write
from store.words import words

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agent_host.sql import Connection, Executor, Row, Transaction


def append(
    connection: Connection, epoch: int, session: str, stream: str, offset: int, data: bytes
) -> int:
    length = offset + len(data)
    if _append_at_end(connection, epoch, session, stream, offset, data):
        return length
    with connection.transaction() as transaction:
        return _append_with_care(transaction, epoch, session, stream, offset, data)


def _append_at_end(
    connection: Connection, epoch: int, session: str, stream: str, offset: int, data: bytes
) -> bool:
    """The append that nearly all are, by one call into the host: the session has this epoch
    already, and the stream ends at `offset`. If it is not so, nothing happens.
    """

    def statements() -> Iterator[Statement]:
        if lock := words(connection).lock_session:
            yield Statement(lock, (session, epoch))
        for start, chunk in chunks.cut(offset, data):
            yield Statement(
                f"""INSERT INTO stream_chunks (stream, start, data)
                    SELECT key, ?5, ?6 FROM streams
                    WHERE session = ?1 AND name = ?3 AND length = ?4 AND {CLAIMED}""",
                (session, epoch, stream, offset, start, chunk),
            )
        yield Statement(
            f"""UPDATE streams SET length = ?5
                WHERE session = ?1 AND name = ?3 AND length = ?4 AND {CLAIMED}""",
            (session, epoch, stream, offset, offset + len(data)),
        )

    *_, appended = connection.batch(statements())
    return appended == 1


def _append_with_care(
    transaction: Transaction, epoch: int, session: str, stream: str, offset: int, data: bytes
) -> int:
    """Any append: the first of a stream or of an epoch, one that repeats what is stored, one that
    is refused, which also undoes the claim.
    """
    if not transaction.execute(CLAIM, (session, epoch)):
        raise refusal(transaction, epoch, session)
    row = transaction.query_one(
        "SELECT length FROM streams WHERE session = ?1 AND name = ?2", (session, stream)
    )
    length: int = row[0] if row else 0
    if offset > length:
        raise OffsetMismatch(length)
    repeated, new = data[: length - offset], data[length - offset :]
    for at in range(0, len(repeated), MAX_READ_BYTES):
        piece = repeated[at : at + MAX_READ_BYTES]
        rows = _rows(transaction, session, stream, offset + at, len(piece))
        if chunks.join(rows, offset + at, len(piece)) != piece:
            raise OffsetMismatch(length)
    if new:
        transaction.execute(
            """INSERT INTO streams (session, name, length) VALUES (?1, ?2, ?3)
               ON CONFLICT (session, name) DO UPDATE SET length = excluded.length""",
            (session, stream, length + len(new)),
        )
        for start, chunk in chunks.cut(length, new):
            transaction.execute(
                """INSERT INTO stream_chunks (stream, start, data)
                   SELECT key, ?3, ?4 FROM streams WHERE session = ?1 AND name = ?2""",
                (session, stream, start, chunk),
            )
    return length + len(new)


def read(connection: Connection, session: str, stream: str, offset: int, maximum: int) -> bytes:
    content = chunks.join(_rows(connection, session, stream, offset, maximum), offset, maximum)
    if content is None:
        raise no_such_session(session)
    return content


def _rows(
    executor: Executor, session: str, stream: str, offset: int, maximum: int
) -> Iterator[Row]:
    """The rows for `chunks.join`; there is none if there is no such session."""
    return executor.query(
        """SELECT c.start, c.data FROM sessions s
           LEFT JOIN streams t ON t.session = s.id AND t.name = ?2
           LEFT JOIN stream_chunks c ON c.stream = t.key AND c.start < ?4
               AND c.start >= (SELECT MAX(b.start) FROM stream_chunks b
                               WHERE b.stream = t.key AND b.start <= ?3)
           WHERE s.id = ?1 ORDER BY c.start""",
        (session, stream, offset, offset + maximum),
    )


def replace(connection: Connection, epoch: int, session: str, stream: str, data: bytes) -> int:
    def statements() -> Iterator[Statement]:
        yield Statement(
            f"DELETE FROM streams WHERE session = ?1 AND name = ?3 AND {CLAIMED}",
            (session, epoch, stream),
        )
        yield Statement(
            f"INSERT INTO streams (session, name, length) SELECT ?1, ?3, ?4 WHERE {CLAIMED}",
            (session, epoch, stream, len(data)),
        )
        for start, chunk in chunks.cut(0, data):
            yield Statement(
                f"""INSERT INTO stream_chunks (stream, start, data)
                    SELECT key, ?4, ?5 FROM streams
                    WHERE session = ?1 AND name = ?3 AND {CLAIMED}""",
                (session, epoch, stream, start, chunk),
            )

    write(connection, epoch, session, statements())
    return len(data)
