"""What an event hook of Agent Host is written with, on top of the generated bindings (`wit_world`).

The bindings are faithful to the contract and know nothing of Python's habits. This package knows
both: a hook is a class that overrides what it wants, JSON is Python's own values, errors are
exceptions, and the host's log is behind the module `logging`.
"""

from __future__ import annotations

from agent_host import control
from agent_host.config import Config
from agent_host.errors import (
    AlreadyExists,
    Corrupt,
    HookError,
    Invalid,
    NotFound,
    Other,
    Unavailable,
)
from agent_host.export import export
from agent_host.hook import (
    Allow,
    Deny,
    Event,
    Hook,
    MessageDraft,
    Replace,
    SessionDraft,
    ToolDraft,
    Verdict,
)
from agent_host.values import Json

__all__ = [
    "Allow",
    "AlreadyExists",
    "Config",
    "Corrupt",
    "Deny",
    "Event",
    "Hook",
    "HookError",
    "Invalid",
    "Json",
    "MessageDraft",
    "NotFound",
    "Other",
    "Replace",
    "SessionDraft",
    "ToolDraft",
    "Unavailable",
    "Verdict",
    "control",
    "export",
]
