"""What the tests share: a database behind the bindings, with the adapter's tables in it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from wit_world.imports import sql as host

from agent_host import SessionRecord
from agent_host.sql import Connection
from host_in_python import FakeConnection
from store import schema, sessions

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def empty(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Connection:
    """A connection to a new database."""
    FakeConnection.path = tmp_path / "main.db"
    monkeypatch.setattr(host, "Connection", FakeConnection)
    return Connection.open("main")


@pytest.fixture
def connection(empty: Connection) -> Connection:
    """A connection to a database with a session `s`, whose epoch is 1."""
    schema.migrate(empty)
    sessions.create(empty, 1, record("s"))
    return empty


def record(session: str, created_at: int = 1) -> SessionRecord:
    return SessionRecord(session, created_at, created_at, "default", "agent", None, "{}", None)
