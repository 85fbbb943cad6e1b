"""Sessions' records."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, NamedTuple

from agent_host import (
    AlreadyExists,
    FileInfo,
    Invalid,
    NotFound,
    Page,
    SessionRecord,
    Snapshot,
    StreamInfo,
)
from agent_host.arguments import NUMBER_LIMIT
from store.fence import refusal

if TYPE_CHECKING:
    from agent_host import SessionChanges
    from agent_host.sql import Connection

# The most sessions of a page. Records may have large options: so many of a megabyte are within the
# 64 MiB that the host holds for one query.
PAGE_SESSIONS: Final = 50

# The characters of names, options and extras after which a page ends, however few sessions it has:
# what an instance easily has in memory several times.
PAGE_CHARACTERS: Final = 4 * 1024 * 1024


def create(connection: Connection, epoch: int, session: SessionRecord) -> None:
    created = connection.execute(
        """INSERT INTO sessions (id, epoch, created_at, last_activity, profile, architecture,
                                 name, options, extra)
           VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)
           ON CONFLICT (id) DO NOTHING""",
        (
            session.id,
            epoch,
            session.created_at,
            session.last_activity,
            session.profile,
            session.architecture,
            session.name,
            session.options,
            session.extra,
        ),
    )
    if not created:
        raise AlreadyExists(f"there is already a session {session.id!r}")


def load(connection: Connection, session: str) -> Snapshot | None:
    """All of it by one query, so that it is the picture of one moment. Its rows are of three kinds,
    and each has the fields of what it becomes, in their order as far as the types of the columns
    allow.
    """
    epoch, record = 0, None
    streams: list[StreamInfo] = []
    files: list[FileInfo] = []
    rows = connection.query(
        """SELECT 'session', id, epoch, created_at, last_activity, profile, architecture, name,
                  options, extra
           FROM sessions WHERE id = ?1
           UNION ALL
           SELECT 'stream', name, length, NULL, NULL, NULL, NULL, NULL, NULL, NULL
           FROM streams WHERE session = ?1
           UNION ALL
           SELECT 'file', path, size, created_at, modified_at, sha256, extra, NULL, NULL, NULL
           FROM files WHERE session = ?1""",
        (session,),
    )
    for kind, name, number, first, second, *texts in rows:
        match kind:
            case "session":
                epoch, record = number, SessionRecord(name, first, second, *texts)
            case "stream":
                streams.append(StreamInfo(name, number))
            case "file":
                sha256, extra, *_ = texts
                files.append(FileInfo(name, number, sha256, first, second, extra))
    return None if record is None else Snapshot(epoch, record, streams, files)


def update(connection: Connection, epoch: int, session: str, changes: SessionChanges) -> None:
    updated = connection.execute(
        """UPDATE sessions
           SET epoch = ?2, last_activity = COALESCE(?3, last_activity), name = COALESCE(?4, name),
               options = COALESCE(?5, options), extra = COALESCE(?6, extra)
           WHERE id = ?1 AND epoch <= ?2""",
        (session, epoch, changes.last_activity, changes.name, changes.options, changes.extra),
    )
    if not updated:
        raise refusal(connection, epoch, session)


def delete(connection: Connection, epoch: int, session: str) -> None:
    """What belongs to the session goes with it, by the foreign keys."""
    deleted = connection.execute(
        "DELETE FROM sessions WHERE id = ?1 AND epoch <= ?2", (session, epoch)
    )
    if deleted:
        return
    reason = refusal(connection, epoch, session)
    if not isinstance(reason, NotFound):
        raise reason


class Cursor(NamedTuple):
    """The place of a session in a listing. It never changes: so a listing that goes on behind it
    misses nothing and repeats nothing, whatever was added meanwhile.
    """

    created_at: int
    session: str

    @classmethod
    def read(cls, text: str) -> Cursor:
        match = re.fullmatch(r"([0-9]{1,16})/([A-Za-z0-9._-]+)", text)
        if not match:
            raise Invalid(f"the cursor {text!r} was not given by this adapter")
        return cls(int(match[1]), match[2])

    def __str__(self) -> str:
        return f"{self.created_at}/{self.session}"


# Before the newest that there can be.
BEGINNING: Final = Cursor(NUMBER_LIMIT, "")


def list_page(connection: Connection, cursor: str | None, limit: int) -> Page:
    place = BEGINNING if cursor is None else Cursor.read(cursor)
    most = min(limit, PAGE_SESSIONS)
    sessions: list[SessionRecord] = []
    characters = 0
    rows = connection.query(
        """SELECT id, created_at, last_activity, profile, architecture, name, options, extra
           FROM sessions WHERE (created_at, id) < (?1, ?2)
           ORDER BY created_at DESC, id DESC LIMIT ?3""",
        # One more than there is room for tells whether there is a further page.
        (place.created_at, place.session, most + 1),
    )
    for row in rows:
        if len(sessions) == most or characters >= PAGE_CHARACTERS:
            last = sessions[-1]
            return Page(sessions, str(Cursor(last.created_at, last.id)))
        session = SessionRecord(*row)
        sessions.append(session)
        characters += sum(
            len(text) for text in (session.name, session.options, session.extra) if text
        )
    return Page(sessions, None)
