"""A request of the protocol, and what it may be answered: whatever is missing or is none is refused."""

import hashlib
from collections.abc import Callable, Mapping
from sqlite3 import Connection
from typing import Annotated, Any
from urllib.parse import parse_qsl

import msgspec
from msgspec import Meta

Number = Annotated[int, Meta(ge=0, lt=2**53)]
Json = dict[str, Any]
Operation = Callable[[Connection, "Ask"], Json | bytes | None]

# By method and path, each with whether its answer is kept for a repetition.
OPERATIONS: dict[tuple[str, str], tuple[Operation, bool]] = {}


def operation(method: str, path: str, *, repeated: bool = False) -> Callable[[Operation], Operation]:
    """Answers a method of a path, in a transaction. `repeated` is for writes that are simply done again when they come again."""

    def register(function: Operation) -> Operation:
        OPERATIONS[method, path] = (function, method != "GET" and not repeated)
        return function

    return register


class Refused(Exception):
    """A refusal in the contract's words, with the number that belongs to it."""

    def __init__(self, code: str, detail: str, **numbers: int) -> None:
        super().__init__(detail)
        self.code, self.numbers = code, numbers


class Ask:
    def __init__(self, method: str, path: str, query: str, headers: Mapping[str, str], body: bytes) -> None:
        self.method, self.path, self.headers, self.body = method, path, headers, body
        self.target = f"{path}?{query}" if query else path
        self.query = dict(parse_qsl(query, keep_blank_values=True, errors="strict"))

    def __getitem__(self, name: str) -> str:
        if name not in self.query:
            raise Refused("invalid", f"the parameter {name!r} is missing")
        return self.query[name]

    def number(self, name: str, most: int = 2**53 - 1) -> int:
        number = msgspec.convert(self[name], Number, strict=False)
        if number > most:
            raise Refused("invalid", f"the parameter {name!r} is {number}, and {most} at most")
        return number

    def header(self, name: str) -> str:
        if name not in self.headers:
            raise Refused("invalid", f"the header {name!r} is missing")
        return self.headers[name]

    @property
    def epoch(self) -> int:
        return msgspec.convert(self.header("session-epoch"), Number, strict=False)

    @property
    def deadline(self) -> int:
        return msgspec.convert(self.header("request-deadline"), Number, strict=False)

    def json(self, type: Any) -> Any:
        return msgspec.json.decode(self.body, type=type)

    def digest(self) -> str:
        """Of all that is asked for, so that no key is taken for that of another write."""
        return hashlib.sha256(f"{self.method} {self.target} {self.headers.get('session-epoch')} ".encode() + self.body).hexdigest()
