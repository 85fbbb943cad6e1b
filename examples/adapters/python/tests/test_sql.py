from __future__ import annotations

from typing import cast

import pytest
from wit_world.imports import sql as host

from agent_host import AdapterError, Invalid, Other, Unavailable
from agent_host.sql import Connection, Dialect, Statement, Value, _failure, _spoken
from host_in_python import FakeConnection, FakeRows


def test_each_database_gets_its_own_parameters() -> None:
    sql, parameters = "SELECT ?1, ?12, ?2", (1, b"\xff")
    assert _spoken(sql, parameters, Dialect.SQLITE)[0] == "SELECT ?1, ?12, unhex(?2)"
    assert _spoken(sql, parameters, Dialect.POSTGRESQL)[0] == "SELECT $1, $12, decode($2, 'hex')"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, host.Value_Null()),
        (7, host.Value_Integer(7)),
        (True, host.Value_Integer(1)),
        (0.5, host.Value_Real(0.5)),
        ("ü", host.Value_Text("ü")),
        (b"\x00\xff", host.Value_Text("00ff")),
    ],
)
def test_values_become_the_bindings(value: Value, expected: host.Value) -> None:
    assert _spoken("SELECT ?1", (value,), Dialect.SQLITE)[1] == [expected]


def test_what_the_host_cannot_take_is_refused_before_it_is_asked() -> None:
    with pytest.raises(Invalid, match="64 bits"):
        _spoken("SELECT ?1", (2**63,), Dialect.SQLITE)
    with pytest.raises(TypeError, match="bytearray"):
        _spoken("SELECT ?1", (cast("bytes", bytearray()),), Dialect.SQLITE)
    with pytest.raises(Invalid, match="NUL"):
        _spoken("SELECT ?1", ("a\0",), Dialect.POSTGRESQL)
    assert _spoken("SELECT ?1", ("a\0",), Dialect.SQLITE)[1] == [host.Value_Text("a\0")]


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (host.Error_Busy("why"), Unavailable("the database is busy: why")),
        (host.Error_Unavailable("why"), Unavailable("the database is unavailable: why")),
        (host.Error_Denied("why"), Invalid("the host does not allow it: why")),
        (
            host.Error_Constraint("why"),
            Other("the database refused what violates a constraint: why"),
        ),
        (host.Error_Syntax("why"), Other("the database refused the statement: why")),
        (host.Error_Other("why"), Other("the database failed: why")),
    ],
)
def test_errors_of_the_database_become_the_adapters(
    error: host.Error, expected: AdapterError
) -> None:
    failure = _failure(error)
    assert (type(failure), str(failure)) == (type(expected), str(expected))


def test_rows_are_tuples_over_pages(empty: Connection) -> None:
    rows = empty.query(
        "SELECT 1, 'a', x'00ff', NULL UNION ALL SELECT 2, NULL, NULL, NULL "
        "UNION ALL SELECT 3, NULL, NULL, NULL"
    )
    assert list(rows) == [(1, "a", b"\x00\xff", None), (2, None, None, None), (3, None, None, None)]


def test_rows_are_let_go_before_they_are_all_read(empty: Connection) -> None:
    open_before = FakeRows.open
    assert empty.query_one("SELECT 1 UNION ALL SELECT 2") == (1,)
    assert FakeRows.open == open_before
    assert empty.query_one("SELECT 1 WHERE FALSE") is None


def test_a_transaction_commits_unless_an_exception_leaves_it(empty: Connection) -> None:
    empty.execute("CREATE TABLE t (a)")
    with empty.transaction() as transaction:
        transaction.execute("INSERT INTO t VALUES (?1)", (b"\x00\xff",))

    def fail() -> None:
        with empty.transaction() as transaction:
            transaction.execute("INSERT INTO t VALUES (2)")
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert list(empty.query("SELECT a FROM t")) == [(b"\x00\xff",)]


@pytest.mark.parametrize(("size", "calls"), [(1, ["batch"]), (3 * 1024 * 1024, ["begin"])])
def test_a_batch_is_all_or_nothing_by_one_call_if_it_is_small(
    empty: Connection, size: int, calls: list[str]
) -> None:
    empty.execute("CREATE TABLE t (a INTEGER PRIMARY KEY, b)")
    fake = cast("FakeConnection", empty._target)
    fake.calls.clear()
    insert = "INSERT INTO t VALUES (?1, ?2)"
    assert empty.batch(Statement(insert, (key, bytes(size))) for key in (1, 2, 3)) == [1, 1, 1]
    assert fake.calls == calls
    with pytest.raises(Other, match="constraint"):
        empty.batch(Statement(insert, (key, bytes(size))) for key in (4, 5, 1))
    assert empty.query_one("SELECT count(*), min(length(b)) FROM t") == (3, size)


def test_a_database_that_is_not_granted_is_invalid(empty: Connection) -> None:
    with pytest.raises(Invalid, match="'other'"):
        type(empty).open("other")
