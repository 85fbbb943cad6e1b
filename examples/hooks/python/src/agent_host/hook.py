"""The class that a hook extends, what it is told, and what it decides."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agent_host.config import Config
    from agent_host.values import Json


@dataclass(frozen=True)
class Event:
    """Something that happened to a session: an event of the WebSocket."""

    session: str
    epoch: int
    """Grows whenever a host takes the session over."""
    seq: int
    """With session and epoch it names the event: one that comes again is a repeat."""
    name: str
    """Such as `session:block:complete`."""
    data: Json


@dataclass(frozen=True)
class SessionDraft:
    """A session that is about to be created."""

    profile: str
    architecture: str
    name: str | None
    options: dict[str, Json]


@dataclass(frozen=True)
class MessageDraft:
    """A message that is about to be accepted."""

    session: str
    id: str
    content: Json
    """As clients give it: a text, or a list of content blocks."""


@dataclass(frozen=True)
class ToolDraft:
    """A tool that the agent is about to use."""

    session: str
    subagent: str | None
    """`None` in the main conversation."""
    tool_use_id: str
    tool: str
    input: dict[str, Json]


@dataclass(frozen=True)
class Allow:
    """It happens as it is."""


@dataclass(frozen=True)
class Replace:
    """It happens with this: other options, another content, another input of the tool."""

    value: Json


@dataclass(frozen=True)
class Deny:
    """It does not happen. The text is shown to whoever asked: the client, or the agent."""

    reason: str


Verdict: TypeAlias = Allow | Replace | Deny


class Hook:
    """Is told of what happens to sessions, and decides before it happens.

    A hook has a name and a version, and overrides the functions that it wants; it is asked about
    nothing else. There is one object in each instance, and it gets one call at a time:

    - Events come at least once, those of a session in order.
    - A question has a deadline of a few seconds. A hook that misses it or raises leaves the
      decision to `denies_on_failure`.
    - Events and questions go to different instances, so that neither waits for the other: what they
      share is kept in the session's metadata (`control.set_metadata`), and not in `self`.
    """

    name: ClassVar[str]
    version: ClassVar[str]

    events: ClassVar[Sequence[str]] = ()
    """What `on_events` is told of, such as `session:block:complete`; `*` stands for any rest."""

    denies_on_failure: ClassVar[bool] = False
    """Whether what it fails to decide on does not happen."""

    def __init__(self, config: Config) -> None:
        """Called once in each instance, before anything else."""
        config.only()

    def on_events(self, events: list[Event]) -> None:
        """These happened. After an exception the same come again."""

    def before_session(self, draft: SessionDraft) -> Verdict:
        """A session is about to be created. `Replace` has other options."""
        return Allow()

    def before_message(self, draft: MessageDraft) -> Verdict:
        """A message is about to be accepted. `Replace` has another content."""
        return Allow()

    def before_tool_use(self, draft: ToolDraft) -> Verdict:
        """The agent is about to use a tool. `Replace` has another input."""
        return Allow()
