"""The contract, in the tables of `schema.sql`. Each operation runs in one transaction; one that raises changes nothing."""

import hashlib
import re
from sqlite3 import Connection
from typing import Annotated, Any

from msgspec import Meta, Raw, Struct, convert, json, structs

from protocol import Ask, Json, Number, Refused, operation

CHUNK_BYTES = 256 * 1024  # a read takes rows as wholes: so much at most in vain at either end
CONTENT_BYTES = 64 * 1024 * 1024  # what comes in pieces is put together in memory
PAGE_BYTES = 4 * 1024 * 1024  # a page ends here, however many were asked for: hosts let answers of some megabytes pass
PAGE_FILES = 5_000
READ_BYTES = 1024 * 1024
NOW = "CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER)"  # the database's clock, in Unix milliseconds

Ttl = Annotated[int, Meta(ge=1, le=24 * 60 * 60 * 1000)]


class Session(Struct, rename="camel", omit_defaults=True):
    id: Annotated[str, Meta(pattern=r"^[A-Za-z0-9_-][A-Za-z0-9._-]{0,127}\Z")]
    created_at: Number
    last_activity: Number
    profile: str
    architecture: str
    name: str | None = None
    options: str | None = None
    extra: str | None = None


class Changes(Struct, rename="camel"):
    last_activity: Number | None = None
    name: str | None = None
    options: str | None = None
    extra: str | None = None


class File(Struct, rename="camel", omit_defaults=True):
    path: Annotated[str, Meta(min_length=1)]
    size: Number
    sha256: str
    created_at: Number
    modified_at: Number
    extra: str | None = None


class Summary(Struct, omit_defaults=True):
    id: str
    name: str
    description: str | None = None


class Profile(Struct):
    profile: Summary
    document: str


class Owner(Struct):
    id: str
    address: str


class Acquisition(Struct):
    owner: Owner
    ttl: Ttl


class Renewal(Struct):
    owner: str
    ttl: Ttl
    sessions: Annotated[list[str], Meta(max_length=500)]


def find(db: Connection, session: str, columns: str) -> tuple[Any, ...]:
    row: tuple[Any, ...] | None = db.execute(f"SELECT {columns} FROM sessions WHERE id = ?", [session]).fetchone()
    if not row:
        raise Refused("not-found", f"there is no session {session!r}")
    return row


def claim(db: Connection, ask: Ask) -> str:
    """Takes the session for a write with this epoch, and gives its id."""
    session, epoch = ask["session"], ask.epoch
    claimed = db.execute("UPDATE sessions SET epoch = ?1, version = version + 1 WHERE id = ?2 AND epoch <= ?1", [epoch, session])
    if not claimed.rowcount:
        (highest,) = find(db, session, "epoch")
        raise Refused("stale-epoch", f"session {session!r} has the epoch {highest}, and {epoch} is lower", epoch=highest)
    return session


@operation("GET", "/health")
def health(db: Connection, ask: Ask) -> None:
    db.execute("SELECT 1 FROM sessions LIMIT 1")


@operation("POST", "/sessions")
def create_session(db: Connection, ask: Ask) -> None:
    session = ask.json(Session)
    row = [session.id, session.created_at, ask.epoch, json.encode(session).decode()]
    if not db.execute("INSERT INTO sessions (id, created_at, epoch, record) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING", row).rowcount:
        raise Refused("already-exists", f"there is already a session {session.id!r}")


@operation("GET", "/sessions")
def list_sessions(db: Connection, ask: Ask) -> Json:
    limit, cursor = ask.number("limit", most=1000), ask.query.get("cursor", f"{2**53}/-")
    place = re.fullmatch(r"(\d{1,16})/([\w.-]+)", cursor, re.ASCII)
    if not limit or not place:
        raise Refused("invalid", "the limit is 0, or the cursor was not given by this server")
    rows = db.execute(
        "SELECT created_at || '/' || id, record FROM sessions WHERE (created_at, id) < (?, ?) ORDER BY created_at DESC, id DESC LIMIT ?",
        [int(place[1]), place[2], limit + 1],
    )
    sessions: list[Raw] = []
    size, last = 0, None
    for here, record in rows:
        if len(sessions) == limit or size > PAGE_BYTES:
            return {"sessions": sessions, "next": last}
        sessions.append(Raw(record.encode()))
        size, last = size + len(record), here
    return {"sessions": sessions}


@operation("GET", "/session")
def load_session(db: Connection, ask: Ask) -> Json:
    session, after = ask["session"], ask.query.get("cursor", "")
    epoch, version, record = find(db, session, "epoch, version, record")
    streams = db.execute("SELECT name, length FROM streams WHERE session = ? ORDER BY name", [session])
    files = db.execute(
        "SELECT path, info FROM files WHERE session = ? AND path > ? ORDER BY path LIMIT ?", [session, after, PAGE_FILES + 1]
    )
    *page, beyond = [*files.fetchmany(PAGE_FILES), files.fetchone()]
    return {
        "epoch": epoch,
        "version": str(version),
        "session": Raw(record.encode()),
        "streams": [{"name": name, "length": length} for name, length in streams],
        "files": [Raw(info.encode()) for _, info in page],
        "next": page[-1][0] if beyond else None,
    }


@operation("PATCH", "/session")
def update_session(db: Connection, ask: Ask) -> None:
    session = claim(db, ask)
    changes = {name: value for name, value in structs.asdict(ask.json(Changes)).items() if value is not None}
    (record,) = find(db, session, "record")
    changed = structs.replace(json.decode(record, type=Session), **changes)
    db.execute("UPDATE sessions SET record = ? WHERE id = ?", [json.encode(changed).decode(), session])


@operation("DELETE", "/session")
def delete_session(db: Connection, ask: Ask) -> None:
    if db.execute("SELECT 1 FROM sessions WHERE id = ?", [ask["session"]]).fetchone():
        db.execute("DELETE FROM sessions WHERE id = ?", [claim(db, ask)])


def read(db: Connection, session: str, owner: str, offset: int, most: int) -> bytes:
    rows = db.execute(
        """SELECT start, data FROM chunks WHERE session = ?1 AND owner = ?2 AND start < ?4 AND start >=
               (SELECT COALESCE(MAX(start), 0) FROM chunks WHERE session = ?1 AND owner = ?2 AND start <= ?3) ORDER BY start""",
        [session, owner, offset, offset + most],
    ).fetchall()
    skip = offset - rows[0][0] if rows else 0
    return b"".join(data for _, data in rows)[skip : skip + most]


def put(db: Connection, session: str, owner: str, start: int, data: bytes) -> None:
    chunks = ((session, owner, start + at, data[at : at + CHUNK_BYTES]) for at in range(0, len(data), CHUNK_BYTES))
    db.executemany("INSERT INTO chunks (session, owner, start, data) VALUES (?, ?, ?, ?)", chunks)


def cut(db: Connection, session: str, owner: str) -> None:
    db.execute("DELETE FROM chunks WHERE session = ? AND owner = ?", [session, owner])


@operation("PUT", "/piece", repeated=True)
def stage(db: Connection, ask: Ask) -> None:
    offset = ask.number("offset", most=CONTENT_BYTES - len(ask.body))
    db.execute(f"INSERT OR REPLACE INTO pieces (write, start, data, at) VALUES (?, ?, ?, {NOW})", [ask["write"], offset, ask.body])


def content(db: Connection, ask: Ask) -> bytes:
    """All of what a write is to write: the pieces that were brought before, and its body."""
    write, staged = ask.header("idempotency-key"), ask.number("staged")
    pieces = [data for (data,) in db.execute("SELECT data FROM pieces WHERE write = ? ORDER BY start", [write])] if staged else []
    if sum(map(len, pieces)) != staged:
        raise Refused("unavailable", f"of the {staged} bytes that were brought before this write not all are there")
    db.execute("DELETE FROM pieces WHERE write = ?", [write])
    return b"".join([*pieces, ask.body])


@operation("POST", "/stream")
def append(db: Connection, ask: Ask) -> Json:
    session, stream, offset, data = claim(db, ask), ask["stream"], ask.number("offset"), content(db, ask)
    row = db.execute("SELECT length FROM streams WHERE session = ? AND name = ?", [session, stream]).fetchone()
    length = row[0] if row else 0
    overlap = max(0, min(length - offset, len(data)))
    if offset > length or read(db, session, f"stream/{stream}", offset, overlap) != data[:overlap]:
        raise Refused("offset-mismatch", f"stream {stream!r} of session {session!r} has {length} bytes, or others there", length=length)
    put(db, session, f"stream/{stream}", length, data[overlap:])
    return set_length(db, session, stream, length + len(data) - overlap)


@operation("PUT", "/stream")
def replace(db: Connection, ask: Ask) -> Json:
    session, stream, data = claim(db, ask), ask["stream"], content(db, ask)
    cut(db, session, f"stream/{stream}")
    put(db, session, f"stream/{stream}", 0, data)
    return set_length(db, session, stream, len(data))


def set_length(db: Connection, session: str, stream: str, length: int) -> Json:
    db.execute("INSERT OR REPLACE INTO streams (session, name, length) VALUES (?, ?, ?)", [session, stream, length])
    return {"length": length}


@operation("GET", "/stream")
def read_stream(db: Connection, ask: Ask) -> bytes:
    (session,) = find(db, ask["session"], "id")
    return read(db, session, f"stream/{ask['stream']}", ask.number("offset"), ask.number("max", most=READ_BYTES))


@operation("PUT", "/file")
def save_file(db: Connection, ask: Ask) -> None:
    session, file, data = claim(db, ask), convert(ask.query, File, strict=False), content(db, ask)
    if (len(data), hashlib.sha256(data).hexdigest()) != (file.size, file.sha256):
        raise Refused("invalid", f"the contents of {file.path!r} are not those that its size and digest say")
    row = [session, file.path, json.encode(file).decode()]
    db.execute("INSERT OR REPLACE INTO files (session, path, info) VALUES (?, ?, ?)", row)
    cut(db, session, f"file/{file.path}")
    put(db, session, f"file/{file.path}", 0, data)


@operation("GET", "/file")
def read_file(db: Connection, ask: Ask) -> bytes:
    session, path = ask["session"], ask["path"]
    if not db.execute("SELECT 1 FROM files WHERE session = ? AND path = ?", [session, path]).fetchone():
        raise Refused("not-found", f"session {session!r} has no file {path!r}")
    return read(db, session, f"file/{path}", ask.number("offset"), ask.number("max", most=READ_BYTES))


@operation("DELETE", "/file")
def delete_file(db: Connection, ask: Ask) -> None:
    session, path = claim(db, ask), ask["path"]
    db.execute("DELETE FROM files WHERE session = ? AND path = ?", [session, path])
    cut(db, session, f"file/{path}")


@operation("GET", "/profiles")
def list_profiles(db: Connection, ask: Ask) -> Json:
    return {"profiles": [Raw(summary.encode()) for (summary,) in db.execute("SELECT summary FROM profiles ORDER BY id")]}


@operation("GET", "/profile")
def load_profile(db: Connection, ask: Ask) -> Json:
    row = db.execute("SELECT summary, document FROM profiles WHERE id = ?", [ask["profile"]]).fetchone()
    if not row:
        raise Refused("not-found", f"there is no profile {ask['profile']!r}")
    return {"profile": Raw(row[0].encode()), "document": row[1]}


@operation("PUT", "/profile")
def save_profile(db: Connection, ask: Ask) -> None:
    saved = ask.json(Profile)
    if saved.profile.id != ask["profile"]:
        raise Refused("invalid", f"the profile {saved.profile.id!r} is to be saved as {ask['profile']!r}")
    row = [saved.profile.id, json.encode(saved.profile).decode(), saved.document]
    db.execute("INSERT OR REPLACE INTO profiles (id, summary, document) VALUES (?, ?, ?)", row)


@operation("DELETE", "/profile")
def delete_profile(db: Connection, ask: Ask) -> None:
    db.execute("DELETE FROM profiles WHERE id = ?", [ask["profile"]])


@operation("POST", "/lease", repeated=True)
def acquire(db: Connection, ask: Ask) -> Json:
    (session,), wanted = find(db, ask["session"], "id"), ask.json(Acquisition)
    # That it has ended is decided once. Whoever had it, and may still think so, can write nothing more.
    ended = db.execute(f"DELETE FROM leases WHERE session = ? AND owner <> ? AND expires <= {NOW}", [session, wanted.owner.id])
    if ended.rowcount:
        db.execute("UPDATE sessions SET epoch = epoch + 1, version = version + 1 WHERE id = ?", [session])
    db.execute(
        f"""INSERT INTO leases (session, owner, address, expires) VALUES (?, ?, ?, {NOW} + ?) ON CONFLICT (session)
            DO UPDATE SET address = excluded.address, expires = excluded.expires WHERE owner = excluded.owner""",
        [session, wanted.owner.id, wanted.owner.address, wanted.ttl],
    )
    return lease(db, session)


@operation("GET", "/lease")
def get_lease(db: Connection, ask: Ask) -> Json:
    return lease(db, ask["session"])


def lease(db: Connection, session: str) -> Json:
    row = db.execute(f"SELECT owner, address, MAX(0, expires - {NOW}) FROM leases WHERE session = ?", [session]).fetchone()
    if not row:
        raise Refused("not-found", f"nobody has a lease on session {session!r}")
    return {"owner": {"id": row[0], "address": row[1]}, "expiresIn": row[2]}


@operation("DELETE", "/lease", repeated=True)
def release(db: Connection, ask: Ask) -> None:
    db.execute("DELETE FROM leases WHERE session = ? AND owner = ?", [ask["session"], ask["owner"]])


@operation("POST", "/leases", repeated=True)
def renew(db: Connection, ask: Ask) -> Json:
    renewal = ask.json(Renewal)
    prolong = f"UPDATE leases SET expires = {NOW} + ? WHERE session = ? AND owner = ?"

    def is_lost(session: str) -> bool:
        return db.execute(prolong, [renewal.ttl, session, renewal.owner]).rowcount == 0

    return {"lost": list(filter(is_lost, renewal.sessions))}
