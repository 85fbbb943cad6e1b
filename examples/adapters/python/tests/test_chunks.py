from __future__ import annotations

import pytest

from agent_host import Corrupt
from store.chunks import CHUNK_BYTES, cut, join


def test_what_was_cut_is_joined_again() -> None:
    data = bytes(range(251)) * (2 * CHUNK_BYTES // 251 + 1)
    rows = list(cut(100, data))
    assert [start for start, _ in rows] == [100, 100 + CHUNK_BYTES, 100 + 2 * CHUNK_BYTES]
    assert join(rows, 100, len(data)) == data
    assert join(rows, 103, CHUNK_BYTES) == data[3 : 3 + CHUNK_BYTES]


@pytest.mark.parametrize("offset", range(10))
@pytest.mark.parametrize("maximum", range(10))
def test_a_range_is_taken_across_rows(offset: int, maximum: int) -> None:
    rows = [(0, b"abc"), (3, b"d"), (4, b"efgh")]
    wanted = [(start, data) for start, data in rows if start <= offset][-1:]
    wanted += [(start, data) for start, data in rows if offset < start < offset + maximum]
    assert join(wanted, offset, maximum) == b"abcdefgh"[offset : offset + maximum]


def test_nothing_stored_is_told_from_no_stream() -> None:
    assert join([(None, None)], 0, 5) == b""
    assert join([], 0, 5) is None


@pytest.mark.parametrize("rows", [[(0, b"abc"), (4, b"e")], [(4, b"e")]])
def test_a_hole_is_corrupt(rows: list[tuple[int, bytes]]) -> None:
    with pytest.raises(Corrupt, match="go on at 4"):
        join(rows, 2, 9)
