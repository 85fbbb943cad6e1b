"""The adapter: what the component exports, function by function.

Each function says what it does, so that an error can; refuses arguments that can never succeed; and
leaves the rest to `store`. The classes are found by their names. They extend those of the contract,
so that one that lacks a function is an error of the build.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from wit_world import exports
from wit_world.exports.lifecycle import AdapterInfo, Concurrency

from agent_host import Invalid, doing, log
from agent_host.arguments import (
    check_limit,
    check_number,
    check_read,
    check_renewal,
    check_session_id,
    check_time_to_live,
    only_known,
)
from agent_host.sql import Connection
from store import files, leases, profiles, schema, sessions, streams

if TYPE_CHECKING:
    from agent_host import (
        FileInfo,
        Lease,
        Owner,
        Page,
        ProfileSummary,
        SessionChanges,
        SessionRecord,
        Snapshot,
    )

NAME: Final = "sessions-python"
VERSION: Final = "0.1.0"

# The configuration key that names the granted database, and the name if there is no such key.
DATABASE_KEY: Final = "database"
DEFAULT_DATABASE: Final = "main"

# The host gives an instance one call at a time, so there is no more to it than a variable.
_connection: Connection | None = None


def connection() -> Connection:
    if _connection is None:
        raise Invalid("the adapter was called before `open`")
    return _connection


class Lifecycle(exports.Lifecycle):
    def open(self, config: list[tuple[str, str]]) -> AdapterInfo:
        global _connection
        log.install()
        with doing("open the adapter"):
            if _connection is not None:
                raise Invalid("it is open already")
            settings = dict(config)
            only_known(settings, {DATABASE_KEY})
            opened = Connection.open(settings.get(DATABASE_KEY, DEFAULT_DATABASE))
            schema.migrate(opened)
            _connection = opened
            return AdapterInfo(NAME, VERSION, Concurrency.POOLED, None)

    def health(self) -> None:
        with doing("check the store"):
            schema.check(connection())


class Sessions(exports.Sessions):
    def create_session(self, epoch: int, session: SessionRecord) -> None:
        with doing(f"create session {session.id!r}"):
            check_number("epoch", epoch)
            check_session_id(session.id)
            check_number("time of creation", session.created_at)
            check_number("time of the last activity", session.last_activity)
            sessions.create(connection(), epoch, session)

    def load_session(self, id: str) -> Snapshot | None:
        with doing(f"load session {id!r}"):
            return sessions.load(connection(), id)

    def update_session(self, epoch: int, id: str, changes: SessionChanges) -> None:
        with doing(f"update session {id!r}"):
            check_number("epoch", epoch)
            check_number("time of the last activity", changes.last_activity)
            sessions.update(connection(), epoch, id, changes)

    def delete_session(self, epoch: int, id: str) -> None:
        with doing(f"delete session {id!r}"):
            check_number("epoch", epoch)
            sessions.delete(connection(), epoch, id)

    def list_sessions(self, cursor: str | None, limit: int) -> Page:
        with doing("list sessions"):
            check_limit(limit)
            return sessions.list_page(connection(), cursor, limit)


class Streams(exports.Streams):
    def append(self, epoch: int, session: str, stream: str, offset: int, data: bytes) -> int:
        with doing(
            f"append {len(data)} bytes at {offset} to stream {stream!r} of session {session!r}"
        ):
            check_number("epoch", epoch)
            check_number("end of the append", offset + len(data))
            return streams.append(connection(), epoch, session, stream, offset, data)

    def read(self, session: str, stream: str, offset: int, max: int) -> bytes:
        with doing(f"read {max} bytes at {offset} of stream {stream!r} of session {session!r}"):
            check_read(offset, max)
            return streams.read(connection(), session, stream, offset, max)

    def replace(self, epoch: int, session: str, stream: str, data: bytes) -> int:
        with doing(f"replace stream {stream!r} of session {session!r} by {len(data)} bytes"):
            check_number("epoch", epoch)
            return streams.replace(connection(), epoch, session, stream, data)


class Files(exports.Files):
    def save_file(self, epoch: int, session: str, file: FileInfo, content: bytes) -> None:
        with doing(f"save file {file.path!r} of session {session!r}"):
            check_number("epoch", epoch)
            check_number("size", file.size)
            check_number("time of creation", file.created_at)
            check_number("time of modification", file.modified_at)
            files.save(connection(), epoch, session, file, content)

    def read_file(self, session: str, path: str, offset: int, max: int) -> bytes:
        with doing(f"read {max} bytes at {offset} of file {path!r} of session {session!r}"):
            check_read(offset, max)
            return files.read(connection(), session, path, offset, max)

    def delete_file(self, epoch: int, session: str, path: str) -> None:
        with doing(f"delete file {path!r} of session {session!r}"):
            check_number("epoch", epoch)
            files.delete(connection(), epoch, session, path)


class Profiles(exports.Profiles):
    def list_profiles(self) -> list[ProfileSummary]:
        with doing("list profiles"):
            return profiles.list_all(connection())

    def load_profile(self, id: str) -> str | None:
        with doing(f"load profile {id!r}"):
            return profiles.load(connection(), id)

    def save_profile(self, profile: ProfileSummary, document: str) -> None:
        with doing(f"save profile {profile.id!r}"):
            profiles.save(connection(), profile, document)

    def delete_profile(self, id: str) -> None:
        with doing(f"delete profile {id!r}"):
            profiles.delete(connection(), id)


class Leases(exports.Leases):
    def acquire(self, session: str, owner: Owner, ttl: int) -> Lease:
        with doing(f"acquire the lease of session {session!r}"):
            check_time_to_live(ttl)
            return leases.acquire(connection(), session, owner, ttl)

    def renew(self, owner: str, ttl: int, sessions: list[str]) -> list[str]:
        with doing(f"renew the leases of {len(sessions)} sessions"):
            check_time_to_live(ttl)
            check_renewal(sessions)
            return leases.renew(connection(), owner, ttl, sessions)

    def release(self, session: str, owner: str) -> None:
        with doing(f"release the lease of session {session!r}"):
            leases.release(connection(), session, owner)

    def get(self, session: str) -> Lease | None:
        with doing(f"look for the lease of session {session!r}"):
            return leases.get(connection(), session)
