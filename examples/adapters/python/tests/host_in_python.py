"""`agent-host:sql` over the SQLite of Python: what the host does for a component, in short."""

from __future__ import annotations

import sqlite3
from contextlib import contextmanager
from typing import TYPE_CHECKING, ClassVar

from componentize_py_types import Err
from wit_world.imports import sql as host

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from typing import Self


@contextmanager
def _as_host() -> Iterator[None]:
    failure: host.Error
    try:
        yield
        return
    except sqlite3.IntegrityError as error:
        failure = host.Error_Constraint(str(error))
    except sqlite3.OperationalError as error:
        failure = host.Error_Syntax(str(error))
    raise Err(failure)


def _python(value: host.Value) -> object:
    return None if isinstance(value, host.Value_Null) else value.value


def _wit(value: object) -> host.Value:
    match value:
        case int():
            return host.Value_Integer(value)
        case str():
            return host.Value_Text(value)
        case bytes():
            return host.Value_Blob(value)
        case _:
            return host.Value_Null()


class FakeRows(host.Rows):
    """Gives two rows at a time, so that a reader has to ask again."""

    open: ClassVar[int] = 0

    def __init__(self, rows: list[list[host.Value]]) -> None:
        self.rows = rows
        type(self).open += 1

    def next(self, max: int) -> list[list[host.Value]]:
        page, self.rows = self.rows[:2], self.rows[2:]
        return page

    def __exit__(self, *error: object) -> None:
        type(self).open -= 1


class FakeTransaction(host.Transaction):
    def __init__(self, database: sqlite3.Connection) -> None:
        self.database = database
        database.execute("BEGIN IMMEDIATE")

    def execute(self, sql: str, params: list[host.Value]) -> int:
        with _as_host():
            return max(0, self.database.execute(sql, [_python(value) for value in params]).rowcount)

    def query(self, sql: str, params: list[host.Value]) -> FakeRows:
        with _as_host():
            rows = self.database.execute(sql, [_python(value) for value in params])
            return FakeRows([[_wit(value) for value in row] for row in rows])

    def commit(self) -> None:
        self.database.execute("COMMIT")

    def rollback(self) -> None:
        self.database.execute("ROLLBACK")


class FakeConnection(host.Connection):
    path: ClassVar[Path]

    def __init__(self) -> None:
        self.database = sqlite3.connect(self.path, isolation_level=None)
        self.database.execute("PRAGMA foreign_keys = ON")
        # Which SQLite has from 3.41 on.
        self.database.create_function("unhex", 1, bytes.fromhex)
        self.calls: list[str] = []

    @classmethod
    def open(cls, name: str) -> Self:
        if name != "main":
            raise Err(host.Error_Denied(f"no database is granted under the name {name!r}"))
        return cls()

    def dialect(self) -> host.Dialect:
        return host.Dialect.SQLITE

    def execute(self, sql: str, params: list[host.Value]) -> int:
        (changed,) = self.batch([host.Statement(sql, params)])
        return changed

    def query(self, sql: str, params: list[host.Value]) -> FakeRows:
        transaction = self.begin()
        try:
            return transaction.query(sql, params)
        finally:
            transaction.commit()

    def batch(self, statements: list[host.Statement]) -> list[int]:
        self.calls.append("batch")
        transaction = FakeTransaction(self.database)
        try:
            changed = [transaction.execute(each.sql, each.params) for each in statements]
        except Err:
            transaction.rollback()
            raise
        transaction.commit()
        return changed

    def begin(self) -> FakeTransaction:
        self.calls.append("begin")
        return FakeTransaction(self.database)
