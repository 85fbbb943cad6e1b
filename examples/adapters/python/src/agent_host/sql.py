"""Databases that the host grants, with Python's values and habits.

Statements are written with numbered parameters, `?1`, for every database. Parameters and columns
are Python's values, rows are tuples, errors are those of `agent_host.errors`, and a transaction is
a `with` block, which commits unless an exception leaves it.

Bytes go to the host as hexadecimal text, and the statement is given the function that reads it:
what componentize-py 0.25.1 hands out as `list<u8>` it never frees (strings it does), so that a few
hundred megabytes of writes would be the end of an instance. Bytes that come back are bytes.
"""

from __future__ import annotations

import re
from contextlib import suppress
from functools import lru_cache
from itertools import chain
from typing import TYPE_CHECKING, Any, Final, NamedTuple, ParamSpec, TypeAlias, TypeVar

from componentize_py_types import Err
from wit_world.imports import sql as host
from wit_world.imports.sql import Dialect

from agent_host.errors import AdapterError, Invalid, Other, Unavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from types import TracebackType
    from typing import Self

__all__ = ["Connection", "Dialect", "Executor", "Row", "Statement", "Transaction", "Value"]

P = ParamSpec("P")
R = TypeVar("R")

Value: TypeAlias = int | float | str | bytes | None

# As everywhere in Python's databases: what a column holds is known by the table's definition.
Row: TypeAlias = tuple[Any, ...]

# The host ends a page of rows at about 1 MiB, whatever their number.
_ROWS_OF_A_PAGE: Final = 2**32 - 1

# The most bytes of parameters that are handed over in one call: many times what is usual, and with
# all its copies a fraction of what an instance may have.
_BYTES_AT_ONCE: Final = 4 * 1024 * 1024


class Statement(NamedTuple):
    """A statement with its parameters."""

    sql: str
    parameters: Sequence[Value] = ()


class Executor:
    """Runs statements one by one: a `Connection`, or a `Transaction`."""

    def __init__(self, target: host.Connection | host.Transaction, dialect: Dialect) -> None:
        self._target = target
        self.dialect = dialect

    def execute(self, sql: str, parameters: Sequence[Value] = ()) -> int:
        """Runs a statement that has no rows, and gives the number of rows that it changed."""
        return _ask(self._target.execute, *_spoken(sql, parameters, self.dialect))

    def query(self, sql: str, parameters: Sequence[Value] = ()) -> Iterator[Row]:
        """Runs a statement at once, and gives its rows as they are wanted."""
        return _rows(_ask(self._target.query, *_spoken(sql, parameters, self.dialect)))

    def query_one(self, sql: str, parameters: Sequence[Value] = ()) -> Row | None:
        """The first row of a query; `None` if it has none."""
        return next(self.query(sql, parameters), None)


class Connection(Executor):
    """A granted database. Each statement and each batch is a transaction of its own."""

    _target: host.Connection

    @classmethod
    def open(cls, name: str) -> Self:
        """Opens the database that the configuration grants under this name."""
        target = _ask(host.Connection.open, name)
        return cls(target, target.dialect())

    def batch(self, statements: Iterable[Statement]) -> list[int]:
        """Runs all statements or none, and gives the number of rows that each changed: by one call
        into the host, unless they hold so much that they are better handed over one by one.
        """
        coming = iter(statements)
        together, size = [], 0
        for statement in coming:
            together.append(statement)
            size += sum(len(value) for value in statement.parameters if isinstance(value, bytes))
            if size > _BYTES_AT_ONCE:
                break
        else:
            spoken = (_spoken(sql, parameters, self.dialect) for sql, parameters in together)
            return _ask(self._target.batch, [host.Statement(*statement) for statement in spoken])
        with self.transaction() as transaction:
            return [transaction.execute(*statement) for statement in chain(together, coming)]

    def transaction(self) -> Transaction:
        """Begins a transaction that may write. Others wait until it ends, so keep it short."""
        return Transaction(_ask(self._target.begin), self.dialect)


class Transaction(Executor):
    """`with connection.transaction() as transaction: ...` commits at the end of the block, and
    rolls back if an exception leaves it.
    """

    _target: host.Transaction

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if error is None:
            _ask(self._target.commit)
        else:
            # What went wrong first is the one to tell; the host rolls back whatever is left open.
            with suppress(AdapterError):
                _ask(self._target.rollback)


def _ask(call: Callable[P, R], *arguments: P.args, **named: P.kwargs) -> R:
    """Calls the host, whose errors become the adapter's."""
    try:
        return call(*arguments, **named)
    except Err as error:
        raise _failure(error.value) from error


def _failure(error: host.Error) -> AdapterError:
    match error:
        case host.Error_Busy(text):
            return Unavailable(f"the database is busy: {text}")
        case host.Error_Unavailable(text):
            return Unavailable(f"the database is unavailable: {text}")
        case host.Error_Denied(text):
            return Invalid(f"the host does not allow it: {text}")
        case host.Error_Constraint(text):
            return Other(f"the database refused what violates a constraint: {text}")
        case host.Error_Syntax(text):
            return Other(f"the database refused the statement: {text}")
        case host.Error_Other(text):
            return Other(f"the database failed: {text}")


def _spoken(
    sql: str, parameters: Sequence[Value], dialect: Dialect
) -> tuple[str, list[host.Value]]:
    """A statement as the database wants it, and its parameters as the host wants them."""
    in_hex = tuple(number for number, value in enumerate(parameters, 1) if isinstance(value, bytes))
    return _translated(sql, in_hex, dialect), [_encoded(value, dialect) for value in parameters]


@lru_cache(maxsize=256)  # An adapter has a few dozen statements.
def _translated(sql: str, in_hex: tuple[int, ...], dialect: Dialect) -> str:
    """The statement with the database's own parameters, which are read where they are in hex."""

    def parameter(match: re.Match[str]) -> str:
        number = int(match[1])
        if dialect is Dialect.SQLITE:
            return f"unhex(?{number})" if number in in_hex else f"?{number}"
        return f"decode(${number}, 'hex')" if number in in_hex else f"${number}"

    return re.sub(r"\?(\d+)", parameter, sql)


def _encoded(value: Value, dialect: Dialect) -> host.Value:
    """What does not fit the bindings ends the instance, and no `except` sees it: so all that this
    package passes to them is of the exact type.
    """
    match value:
        case None:
            return host.Value_Null()
        case int():
            if not -(2**63) <= value < 2**63:
                raise Invalid(f"the number {value} does not fit into a column of 64 bits")
            return host.Value_Integer(int(value))
        case str():
            if "\0" in value and dialect is Dialect.POSTGRESQL:
                raise Invalid("PostgreSQL keeps no text with a NUL character in it")
            return host.Value_Text(value)
        case bytes():
            return host.Value_Text(value.hex())
        case float():
            return host.Value_Real(value)
        case _:
            raise TypeError(f"a database has no type for {type(value).__name__}")


def _rows(rows: host.Rows) -> Iterator[Row]:
    # The host holds the rows until they are let go, also when nobody wants the rest of them.
    with rows:
        while page := rows.next(_ROWS_OF_A_PAGE):
            for row in page:
                yield tuple(
                    None if isinstance(value, host.Value_Null) else value.value for value in row
                )
