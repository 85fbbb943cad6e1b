"""Contents of streams and files as rows of bytes, each with the place of its first byte."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from agent_host import Corrupt

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from agent_host.sql import Row

# The most bytes of one row. A read takes rows as wholes, so this bounds what it takes in vain at
# either end; and it is far below what databases and the host's pages of rows can hold.
CHUNK_BYTES: Final = 256 * 1024


def cut(start: int, data: bytes) -> Iterator[tuple[int, bytes]]:
    """The rows for data that begins at `start`."""
    for at in range(0, len(data), CHUNK_BYTES):
        yield start + at, data[at : at + CHUNK_BYTES]


def join(rows: Iterable[Row], offset: int, maximum: int) -> bytes | None:
    """The bytes from `offset`, at most `maximum`, out of the rows that hold them, in order; `None`
    if there is no row.

    A row is a start and data. A single one of nothing says that there is a stream or file, and
    nothing of it at that place.
    """
    found = list(rows)
    if not found:
        return None
    chunks = [(start, data) for start, data in found if start is not None]
    begin = end = min(offset, chunks[0][0]) if chunks else offset
    for start, data in chunks:
        if start != end:
            raise Corrupt(f"the stored bytes end at {end} and go on at {start}")
        end += len(data)
    return b"".join(data for _, data in chunks)[offset - begin :][:maximum]
