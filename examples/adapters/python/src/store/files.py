"""Workspace files: a list of them, and their contents as rows of bytes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent_host import NotFound
from agent_host.sql import Statement
from store import chunks
from store.fence import CLAIMED, write

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agent_host import FileInfo
    from agent_host.sql import Connection

# Contents go with their file, by the foreign key.
_DELETE = f"DELETE FROM files WHERE session = ?1 AND path = ?3 AND {CLAIMED}"


def save(connection: Connection, epoch: int, session: str, file: FileInfo, content: bytes) -> None:
    def statements() -> Iterator[Statement]:
        yield Statement(_DELETE, (session, epoch, file.path))
        yield Statement(
            f"""INSERT INTO files (session, path, size, sha256, created_at, modified_at, extra)
                SELECT ?1, ?3, ?4, ?5, ?6, ?7, ?8 WHERE {CLAIMED}""",
            (
                session,
                epoch,
                file.path,
                file.size,
                file.sha256,
                file.created_at,
                file.modified_at,
                file.extra,
            ),
        )
        for start, chunk in chunks.cut(0, content):
            yield Statement(
                f"""INSERT INTO file_chunks (file, start, data)
                    SELECT key, ?4, ?5 FROM files
                    WHERE session = ?1 AND path = ?3 AND {CLAIMED}""",
                (session, epoch, file.path, start, chunk),
            )

    write(connection, epoch, session, statements())


def read(connection: Connection, session: str, path: str, offset: int, maximum: int) -> bytes:
    rows = connection.query(
        """SELECT c.start, c.data FROM files f
           LEFT JOIN file_chunks c ON c.file = f.key AND c.start < ?4
               AND c.start >= (SELECT MAX(b.start) FROM file_chunks b
                               WHERE b.file = f.key AND b.start <= ?3)
           WHERE f.session = ?1 AND f.path = ?2 ORDER BY c.start""",
        (session, path, offset, offset + maximum),
    )
    content = chunks.join(rows, offset, maximum)
    if content is None:
        raise NotFound(f"session {session!r} has no file {path!r}")
    return content


def delete(connection: Connection, epoch: int, session: str, path: str) -> None:
    write(connection, epoch, session, [Statement(_DELETE, (session, epoch, path))])
