from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import pytest
from wit_world.imports import types as contract

from agent_host import (
    AlreadyExists,
    Corrupt,
    HookError,
    Invalid,
    NotFound,
    Other,
    Unavailable,
    control,
)

if TYPE_CHECKING:
    from conftest import FakeHost


def test_what_a_hook_does_reaches_the_host_as_the_contract_has_it(host: FakeHost) -> None:
    control.send_message("s", "m", [{"type": "text", "text": "ü"}])
    control.set_metadata("s", "key", None)
    control.emit("s", "name", {"a": 1})
    control.note("s", "half \ud83d of a pair")
    assert control.interrupt("s")
    assert host.calls == [
        ("send_message", "s", "m", '[{"type": "text", "text": "ü"}]'),
        ("set_metadata", "s", "key", "null"),
        ("emit", "s", "name", '{"a": 1}'),
        ("note", "s", "half ? of a pair"),
        ("interrupt", "s"),
    ]


def test_what_would_end_the_instance_is_refused_before(host: FakeHost) -> None:
    with pytest.raises(TypeError, match="text is expected, and not int"):
        control.note("s", cast("Any", 7))
    with pytest.raises(ValueError, match="JSON compliant"):
        control.emit("s", "name", float("nan"))
    assert host.calls == []


def test_a_session_is_shown_with_what_json_says(host: FakeHost) -> None:
    session = control.get_session("s")
    assert (session.id, session.name, session.options) == ("s", None, {})
    assert (session.metadata, session.is_running) == ({"cost": 1}, True)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (contract.Error_NotFound("why"), NotFound("why")),
        (contract.Error_AlreadyExists("why"), AlreadyExists("why")),
        (contract.Error_StaleEpoch(7), Other("the session has epoch 7")),
        (contract.Error_OffsetMismatch(7), Other("the stream has 7 bytes")),
        (contract.Error_Invalid("why"), Invalid("why")),
        (contract.Error_Unavailable("why"), Unavailable("why")),
        (contract.Error_Corrupt("why"), Corrupt("why")),
        (contract.Error_Other("why"), Other("why")),
    ],
)
def test_errors_of_the_host_are_exceptions(
    host: FakeHost, error: contract.Error, expected: HookError
) -> None:
    host.error = error
    with pytest.raises(HookError) as raised:
        control.note("s", "text")
    assert (type(raised.value), str(raised.value)) == (type(expected), str(expected))
