"""What the conformance kit does not try, or what is nice to know within a second."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest

from agent_host import (
    FileInfo,
    Invalid,
    NotFound,
    OffsetMismatch,
    Other,
    Owner,
    SessionChanges,
    StaleEpoch,
)
from conftest import record
from store import files, leases, schema, sessions, streams
from store.chunks import CHUNK_BYTES
from store.sessions import PAGE_SESSIONS, Cursor

if TYPE_CHECKING:
    from agent_host.sql import Connection


def epoch_of(connection: Connection) -> int:
    snapshot = sessions.load(connection, "s")
    assert snapshot
    return snapshot.epoch


def file(path: str, content: bytes) -> FileInfo:
    return FileInfo(path, len(content), "0" * 64, 1, 2, None)


def test_the_schema_is_made_once_and_a_newer_one_is_left_alone(connection: Connection) -> None:
    schema.migrate(connection)
    schema.check(connection)
    connection.execute("UPDATE python_schema SET version = 99")
    with pytest.raises(Other, match="version 99"):
        schema.migrate(connection)


def test_tables_of_another_adapter_are_left_alone(empty: Connection) -> None:
    empty.execute("CREATE TABLE sessions (id TEXT)")
    with pytest.raises(Other, match="table sessions already exists"):
        schema.migrate(empty)
    assert list(empty.query("SELECT name FROM sqlite_schema")) == [("sessions",)]


def test_appends_are_what_a_model_says(connection: Connection) -> None:
    draw = random.Random(1)
    model = b""
    for _ in range(300):
        offset = draw.randrange(len(model) + 2)
        data = bytes(draw.choices(b"ab", k=draw.randrange(4)))
        common = model[offset : offset + len(data)]
        if offset > len(model) or not data.startswith(common):
            with pytest.raises(OffsetMismatch) as raised:
                streams.append(connection, 1, "s", "events", offset, data)
            assert raised.value.length == len(model)
        else:
            model += data[len(common) :]
            assert streams.append(connection, 1, "s", "events", offset, data) == len(model)
    assert streams.read(connection, "s", "events", 0, len(model)) == model


def test_an_append_writes_what_is_new(connection: Connection) -> None:
    """However long the stream is: one row for one append, and none of the others is touched."""
    first = b"x" * (3 * CHUNK_BYTES)
    streams.append(connection, 1, "s", "events", 0, first)
    before = list(connection.query("SELECT rowid, * FROM stream_chunks ORDER BY start"))
    streams.append(connection, 1, "s", "events", len(first), b"y")
    after = list(connection.query("SELECT rowid, * FROM stream_chunks ORDER BY start"))
    assert after[:-1] == before
    assert after[-1][2:] == (len(first), b"y")


def test_a_refused_append_takes_nothing_over(connection: Connection) -> None:
    with pytest.raises(OffsetMismatch):
        streams.append(connection, 5, "s", "events", 9, b"x")
    assert epoch_of(connection) == 1


def test_a_large_write_under_an_old_epoch_changes_nothing(connection: Connection) -> None:
    """It is more than one call into the host."""
    content = bytes(range(256)) * 20_000
    files.save(connection, 2, "s", file("a", b"kept"), b"kept")
    with pytest.raises(StaleEpoch) as raised:
        files.save(connection, 1, "s", file("a", content), content)
    assert raised.value.epoch == 2
    assert files.read(connection, "s", "a", 0, 10) == b"kept"
    files.save(connection, 2, "s", file("a", content), content)
    assert files.read(connection, "s", "a", 4_999_990, 100) == content[4_999_990:5_000_090]


def test_a_deleted_session_leaves_no_row(connection: Connection) -> None:
    streams.append(connection, 1, "s", "events", 0, b"x")
    files.save(connection, 1, "s", file("a", b"x"), b"x")
    leases.acquire(connection, "s", Owner("one", "http://one"), 1000)
    with pytest.raises(StaleEpoch):
        sessions.delete(connection, 0, "s")
    for _ in range(2):
        sessions.delete(connection, 1, "s")
    for table in ["sessions", "streams", "stream_chunks", "files", "file_chunks", "leases"]:
        assert connection.query_one(f"SELECT count(*) FROM {table}") == (0,), table


def test_an_update_needs_a_session(connection: Connection) -> None:
    with pytest.raises(NotFound, match="'nobody'"):
        sessions.update(connection, 1, "nobody", SessionChanges(None, "name", None, None))


def test_a_listing_shows_each_once_over_short_pages(connection: Connection) -> None:
    for number in range(2 * PAGE_SESSIONS):
        sessions.create(connection, 1, record(f"n{number:03}", number // 3 + 2))
    listed, cursor = [], None
    while True:
        page = sessions.list_page(connection, cursor, 1000)
        assert len(page.sessions) <= PAGE_SESSIONS
        listed += [session.id for session in page.sessions]
        cursor = page.next
        if cursor is None:
            break
    assert listed == [f"n{number:03}" for number in reversed(range(2 * PAGE_SESSIONS))] + ["s"]


def test_a_page_of_large_records_ends_early(connection: Connection) -> None:
    for number in range(8):
        large = record(f"n{number}")
        large.options = "x" * 1024 * 1024
        sessions.create(connection, 1, large)
    page = sessions.list_page(connection, None, 1000)
    assert [session.id for session in page.sessions] == ["s", "n7", "n6", "n5", "n4"]
    rest = sessions.list_page(connection, page.next, 1000)
    assert [session.id for session in rest.sessions] == ["n3", "n2", "n1", "n0"]
    assert rest.next is None


def test_a_cursor_reads_back_and_other_text_is_invalid() -> None:
    assert Cursor.read(str(Cursor(17, "a-b"))) == Cursor(17, "a-b")
    for text in ["", "5", "x/a", "-1/a", "/a", "1/", "1/a\0", "99999999999999999/a"]:
        with pytest.raises(Invalid, match="was not given"):
            Cursor.read(text)


def test_who_takes_over_an_ended_lease_fences_the_one_before(connection: Connection) -> None:
    one, two = Owner("one", "http://one"), Owner("two", "http://two")
    assert leases.acquire(connection, "s", one, 60_000).owner == one
    assert leases.acquire(connection, "s", two, 60_000).owner == one
    connection.execute("UPDATE leases SET expires = 0")
    last = leases.get(connection, "s")
    assert last
    assert last.expires_in == 0
    assert leases.renew(connection, "one", 60_000, ["s", "nobody"]) == ["nobody"]
    assert leases.acquire(connection, "s", two, 60_000).owner == one
    connection.execute("UPDATE leases SET expires = 0")
    assert leases.acquire(connection, "s", one, 60_000).owner == one
    assert epoch_of(connection) == 1
    connection.execute("UPDATE leases SET expires = 0")
    assert leases.acquire(connection, "s", two, 60_000).owner == two
    assert epoch_of(connection) == 2
