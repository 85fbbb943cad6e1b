"""The hook itself, as the host sees it."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import pytest
from componentize_py_types import Err
from wit_world.exports import event_hook as wit
from wit_world.imports import types as contract

from conftest import opened, use
from hook import Blocklist

if TYPE_CHECKING:
    from conftest import FakeHost


def test_it_decides_on_tools_and_denies_what_it_cannot_decide_on(host: FakeHost) -> None:
    _, info = opened(Blocklist, tools="Bash")
    assert info.decisions is wit.Decisions.BEFORE_TOOL_USE
    assert (info.events, info.on_failure) == ([], wit.OnFailure.DENY)


def test_its_configuration_names_tools_and_nothing_else(host: FakeHost) -> None:
    for config, text in [
        ({}, "the configuration key 'tools' is missing"),
        ({"tools": ""}, "the configuration key 'tools' has an empty name"),
        ({"tools": "Bash,,Read"}, "the configuration key 'tools' has an empty name"),
        ({"tool": "Bash"}, "unknown configuration key 'tool'; known are: tools"),
    ]:
        with pytest.raises(Err) as raised:
            opened(Blocklist, **config)
        assert raised.value.value == contract.Error_Invalid(f"failed to open the hook: {text}")


def test_a_tool_that_is_named_is_denied_and_conversation_and_log_say_so(
    host: FakeHost, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    component, _ = opened(Blocklist, tools="WebFetch, Bash")
    assert component.before_tool_use(use("Bash")) == wit.Verdict_Deny("Bash is not allowed here")
    assert host.calls == [("note", "s", "The agent wanted to use Bash, which is not allowed here.")]
    assert "Bash was denied in session s" in caplog.text


def test_any_other_tool_is_allowed_and_nothing_is_said(host: FakeHost) -> None:
    component, _ = opened(Blocklist, tools="WebFetch, Bash")
    assert component.before_tool_use(use("Read")) == wit.Verdict_Allow()
    assert host.calls == []


def test_what_cannot_be_said_is_an_error_on_which_the_tool_is_denied(host: FakeHost) -> None:
    component, _ = opened(Blocklist, tools="Bash")
    host.error = contract.Error_Unavailable("busy")
    with pytest.raises(Err) as raised:
        component.before_tool_use(use("Bash"))
    assert raised.value.value == contract.Error_Unavailable(
        "failed to decide on a use of 'Bash' in session 's': busy"
    )
