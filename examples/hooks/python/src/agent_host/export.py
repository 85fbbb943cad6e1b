"""The plumbing between the component's exports and a `Hook`: the instance, JSON, errors."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wit_world import exports
from wit_world.exports import event_hook as wit

from agent_host import log
from agent_host.config import Config
from agent_host.errors import Invalid, doing
from agent_host.hook import Allow, Deny, Event, Hook, MessageDraft, Replace, SessionDraft, ToolDraft
from agent_host.values import from_json, passable, to_json

if TYPE_CHECKING:
    from agent_host.hook import Verdict


def export(hook: type[Hook]) -> type[exports.EventHook]:
    """The class that the component exports. It is found by its name, `EventHook`."""
    # The host gives an instance one call at a time, so there is no more to it than a variable.
    opened: Hook | None = None

    def instance() -> Hook:
        if opened is None:
            raise Invalid("the hook was called before `open`")
        return opened

    class EventHook(exports.EventHook):
        def open(self, config: list[tuple[str, str]]) -> wit.HookInfo:
            nonlocal opened
            log.install()
            with doing("open the hook"):
                if opened is not None:
                    raise Invalid("it is open already")
                info = _info(hook)
                opened = hook(Config(config))
                return info

        def on_events(self, events: list[wit.Event]) -> None:
            with doing(f"take {len(events)} events"):
                instance().on_events(
                    [
                        Event(each.session, each.epoch, each.seq, each.name, from_json(each.data))
                        for each in events
                    ]
                )

        def before_session(self, draft: wit.SessionDraft) -> wit.Verdict:
            with doing("decide on a new session"):
                options = from_json(draft.options)
                return _verdict(
                    instance().before_session(
                        SessionDraft(draft.profile, draft.architecture, draft.name, options)
                    )
                )

        def before_message(self, draft: wit.MessageDraft) -> wit.Verdict:
            with doing(f"decide on message {draft.id!r} of session {draft.session!r}"):
                content = from_json(draft.content)
                return _verdict(
                    instance().before_message(MessageDraft(draft.session, draft.id, content))
                )

        def before_tool_use(self, draft: wit.ToolDraft) -> wit.Verdict:
            with doing(f"decide on a use of {draft.tool!r} in session {draft.session!r}"):
                return _verdict(
                    instance().before_tool_use(
                        ToolDraft(
                            draft.session,
                            draft.subagent,
                            draft.tool_use_id,
                            draft.tool,
                            from_json(draft.input),
                        )
                    )
                )

    return EventHook


def _info(hook: type[Hook]) -> wit.HookInfo:
    """What the hook says of itself. It wants what it overrides."""
    if (hook.on_events is not Hook.on_events) != bool(hook.events):
        raise Invalid("`events` and `on_events` go together: the names, and what is done")
    if isinstance(hook.events, str):
        raise Invalid(f"`events` is a list or a tuple of names, and not the text {hook.events!r}")
    decisions = wit.Decisions(0)
    if hook.before_session is not Hook.before_session:
        decisions |= wit.Decisions.BEFORE_SESSION
    if hook.before_message is not Hook.before_message:
        decisions |= wit.Decisions.BEFORE_MESSAGE
    if hook.before_tool_use is not Hook.before_tool_use:
        decisions |= wit.Decisions.BEFORE_TOOL_USE
    return wit.HookInfo(
        name=passable(hook.name),
        version=passable(hook.version),
        events=[passable(name) for name in hook.events],
        decisions=decisions,
        on_failure=wit.OnFailure.DENY if hook.denies_on_failure else wit.OnFailure.ALLOW,
        extra=None,
    )


def _verdict(verdict: Verdict) -> wit.Verdict:
    match verdict:
        case Allow():
            return wit.Verdict_Allow()
        case Replace(value):
            return wit.Verdict_Replace(to_json(value))
        case Deny(reason):
            return wit.Verdict_Deny(passable(reason))
        case _:
            raise TypeError(f"a verdict is expected, and not {type(verdict).__name__}")
