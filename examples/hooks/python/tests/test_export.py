"""What becomes of a class: what it wants, what it is given, what its verdicts and errors are."""

from __future__ import annotations

from typing import Any, cast

import pytest
from componentize_py_types import Err
from wit_world.exports import event_hook as wit
from wit_world.imports import types as contract

from agent_host import (
    Allow,
    Deny,
    Event,
    Hook,
    Invalid,
    MessageDraft,
    Replace,
    SessionDraft,
    ToolDraft,
    Verdict,
    export,
)
from conftest import opened, use

pytestmark = pytest.mark.usefixtures("host")


class Nothing(Hook):
    name = "nothing"
    version = "1"


class Decider(Nothing):
    def before_session(self, draft: SessionDraft) -> Verdict:
        return Replace({**draft.options, "named": draft.name is not None})

    def before_message(self, draft: MessageDraft) -> Verdict:
        return Deny("half \ud83d of a pair") if draft.content == "no" else Allow()

    def before_tool_use(self, draft: ToolDraft) -> Verdict:
        return Replace([draft.subagent, draft.input["command"]])


class Listener(Nothing):
    events = ("session:*",)

    def on_events(self, events: list[Event]) -> None:
        raise Invalid(repr([(each.seq, each.data) for each in events]))


def failing(thrown: object) -> type[Hook]:
    """A hook whose verdict that is, or that raises it."""

    class Failing(Nothing):
        def before_tool_use(self, draft: ToolDraft) -> Verdict:
            if isinstance(thrown, BaseException):
                raise thrown
            return cast("Verdict", thrown)

    return Failing


def test_a_hook_is_opened_once_and_before_anything_else() -> None:
    component = export(Nothing)()
    with pytest.raises(Err, match="before `open`"):
        component.on_events([])
    component.open([])
    with pytest.raises(Err, match="open already"):
        component.open([])


def test_a_hook_wants_what_it_overrides_and_nothing_else() -> None:
    component, info = opened(Nothing)
    assert info == wit.HookInfo("nothing", "1", [], wit.Decisions(0), wit.OnFailure.ALLOW, None)
    component.on_events([])
    assert component.before_tool_use(use("Bash")) == wit.Verdict_Allow()
    _, info = opened(Decider)
    assert (info.decisions, info.events) == (
        wit.Decisions.BEFORE_SESSION | wit.Decisions.BEFORE_MESSAGE | wit.Decisions.BEFORE_TOOL_USE,
        [],
    )
    _, info = opened(Listener)
    assert (info.decisions, info.events) == (wit.Decisions(0), ["session:*"])


def test_a_hook_without_configuration_refuses_any() -> None:
    with pytest.raises(Err, match="unknown configuration key 'key'; there are none"):
        opened(Nothing, key="value")


def test_names_of_events_and_what_is_done_with_them_go_together() -> None:
    class Deaf(Nothing):
        events = ("*",)

    class Idle(Nothing):
        def on_events(self, events: list[Event]) -> None:
            raise NotImplementedError

    for hook in (Deaf, Idle):
        with pytest.raises(Err, match="`on_events` go together"):
            opened(hook)


def test_events_come_with_what_json_says() -> None:
    component, _ = opened(Listener)
    with pytest.raises(Err) as raised:
        component.on_events([wit.Event("s", 1, 7, "session:status", '{"status": "idle"}')])
    assert raised.value.value == contract.Error_Invalid(
        "failed to take 1 events: [(7, {'status': 'idle'})]"
    )


def test_drafts_come_with_what_json_says_and_replacements_go_as_json() -> None:
    component, _ = opened(Decider)
    draft = wit.SessionDraft("p", "echo", None, '{"a": "ü"}')
    replaced = component.before_session(draft)
    assert replaced == wit.Verdict_Replace('{"a": "ü", "named": false}')
    message = component.before_message(wit.MessageDraft("s", "m", '"yes"'))
    assert message == wit.Verdict_Allow()
    message = component.before_message(wit.MessageDraft("s", "m", '"no"'))
    assert message == wit.Verdict_Deny("half ? of a pair")
    replaced = component.before_tool_use(use("Bash", '{"command": "ls"}'))
    assert replaced == wit.Verdict_Replace('[null, "ls"]')


@pytest.mark.parametrize(
    "verdict", [None, True, "deny", Allow, Deny(cast("Any", 7)), Replace({1, 2}), Replace(1e999)]
)
def test_a_verdict_that_is_none_is_no_trap(verdict: object) -> None:
    component, _ = opened(failing(verdict))
    with pytest.raises(Err) as raised:
        component.before_tool_use(use("Bash"))
    assert isinstance(raised.value.value, contract.Error_Other)


def test_errors_say_what_was_being_done_and_bugs_are_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    doing = "failed to decide on a use of 'Bash' in session 's'"
    for thrown, expected in [
        (Invalid("no"), contract.Error_Invalid(f"{doing}: no")),
        (KeyError("no"), contract.Error_Other(f"{doing}: KeyError: 'no'")),
    ]:
        assert caplog.text == ""
        component, _ = opened(failing(thrown))
        with pytest.raises(Err) as raised:
            component.before_tool_use(use("Bash"))
        assert raised.value.value == expected
    assert "Traceback" in caplog.text


def test_no_memory_ends_the_instance() -> None:
    component, _ = opened(failing(MemoryError()))
    with pytest.raises(MemoryError):
        component.before_tool_use(use("Bash"))


def test_events_are_names_and_not_a_text() -> None:
    class Comma(Nothing):
        events = "session:*"  # As mypy takes it, too: a text is a sequence of texts.

        def on_events(self, events: list[Event]) -> None:
            pass

    with pytest.raises(Err) as raised:
        opened(Comma)
    assert "`events` is a list or a tuple of names" in raised.value.value.value
