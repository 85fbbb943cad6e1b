from __future__ import annotations

import pytest
from componentize_py_types import Err
from wit_world.imports import types as wit

from agent_host import (
    AdapterError,
    AlreadyExists,
    Corrupt,
    Invalid,
    NotFound,
    OffsetMismatch,
    Other,
    StaleEpoch,
    Unavailable,
    doing,
)


@pytest.mark.parametrize(
    ("error", "case"),
    [
        (NotFound("why"), wit.Error_NotFound("failed to load it: why")),
        (AlreadyExists("why"), wit.Error_AlreadyExists("failed to load it: why")),
        (Invalid("why"), wit.Error_Invalid("failed to load it: why")),
        (Unavailable("why"), wit.Error_Unavailable("failed to load it: why")),
        (Corrupt("why"), wit.Error_Corrupt("failed to load it: why")),
        (Other("why"), wit.Error_Other("failed to load it: why")),
        (StaleEpoch(7), wit.Error_StaleEpoch(7)),
        (OffsetMismatch(9), wit.Error_OffsetMismatch(9)),
    ],
)
def test_each_error_is_a_case_of_the_contract(error: AdapterError, case: wit.Error) -> None:
    with pytest.raises(Err) as raised, doing("load it"):
        raise error
    assert raised.value.value == case


def test_a_bug_is_told_to_the_host_and_the_log(caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(Err) as raised, doing("load it"):
        raise KeyError("key")
    assert raised.value.value == wit.Error_Other("failed to load it: KeyError: 'key'")
    assert "Traceback" in caplog.text


def test_no_memory_ends_the_instance() -> None:
    with pytest.raises(MemoryError), doing("load it"):
        raise MemoryError
