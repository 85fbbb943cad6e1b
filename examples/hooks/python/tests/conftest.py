"""What the tests share: a host that keeps what it was asked, and answers as it is told."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest
from componentize_py_types import Err
from wit_world.exports import event_hook as wit
from wit_world.imports import session_control
from wit_world.imports import types as contract

from agent_host import export

if TYPE_CHECKING:
    from wit_world import exports

    from agent_host import Hook


@dataclass
class FakeHost:
    """In the place of `agent-host:hooks/session-control`."""

    calls: list[tuple[str, ...]] = field(default_factory=list)
    """What was asked, in order: the function and its arguments."""
    error: contract.Error | None = None
    """What every call answers with."""

    def _asked(self, *call: str) -> None:
        self.calls.append(call)
        if self.error is not None:
            raise Err(self.error)

    def get_session(self, session: str) -> session_control.SessionState:
        self._asked("get_session", session)
        record = contract.SessionRecord(session, 1, 2, "p", "echo", None, None, None)
        return session_control.SessionState(record, '{"cost": 1}', True)

    def send_message(self, session: str, id: str, content: str) -> None:
        self._asked("send_message", session, id, content)

    def interrupt(self, session: str) -> bool:
        self._asked("interrupt", session)
        return True

    def set_metadata(self, session: str, key: str, value: str) -> None:
        self._asked("set_metadata", session, key, value)

    def note(self, session: str, text: str) -> None:
        self._asked("note", session, text)

    def emit(self, session: str, name: str, data: str) -> None:
        self._asked("emit", session, name, data)


FUNCTIONS = ["get_session", "send_message", "interrupt", "set_metadata", "note", "emit"]


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> FakeHost:
    fake = FakeHost()
    for function in FUNCTIONS:
        monkeypatch.setattr(session_control, function, getattr(fake, function))
    # The tests keep their own log.
    monkeypatch.setattr("agent_host.log.install", lambda: None)
    return fake


def opened(hook: type[Hook], **config: str) -> tuple[exports.EventHook, wit.HookInfo]:
    """An instance of the component, and what it says of itself."""
    component = export(hook)()
    return component, component.open(list(config.items()))


def use(tool: str, input: str = "{}") -> wit.ToolDraft:
    """A question about a use of a tool, as the host asks it."""
    return wit.ToolDraft("s", None, "u", tool, input)
