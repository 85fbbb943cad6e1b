"""What an adapter of Agent Host is written with, on top of the generated bindings (`wit_world`).

The bindings are faithful to the contract and know nothing of Python's habits. This package knows
both: errors are exceptions, values of a database are Python's own, a transaction is a `with` block,
and the host's log is behind the module `logging`.
"""

from __future__ import annotations

from wit_world.exports.leases import Lease, Owner
from wit_world.imports.types import (
    FileInfo,
    Page,
    ProfileSummary,
    SessionChanges,
    SessionRecord,
    Snapshot,
    StreamInfo,
)

from agent_host.errors import (
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

__all__ = [
    "AdapterError",
    "AlreadyExists",
    "Corrupt",
    "FileInfo",
    "Invalid",
    "Lease",
    "NotFound",
    "OffsetMismatch",
    "Other",
    "Owner",
    "Page",
    "ProfileSummary",
    "SessionChanges",
    "SessionRecord",
    "Snapshot",
    "StaleEpoch",
    "StreamInfo",
    "Unavailable",
    "doing",
]
