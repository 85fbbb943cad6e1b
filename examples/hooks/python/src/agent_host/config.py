"""What the operator gave the hook."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent_host.errors import Invalid

if TYPE_CHECKING:
    from collections.abc import Iterable


class Config:
    """Keys with values, both text."""

    def __init__(self, entries: Iterable[tuple[str, str]]) -> None:
        self._entries = dict(entries)

    def only(self, *known: str) -> None:
        """Refuses keys that nothing reads, so that a typing error is noticed."""
        there = f"known are: {', '.join(known)}" if known else "there are none"
        for key in self._entries:
            if key not in known:
                raise Invalid(f"unknown configuration key {key!r}; {there}")

    def get(self, key: str) -> str | None:
        """A key's value; `None` if it is absent."""
        return self._entries.get(key)

    def require(self, key: str) -> str:
        """A key's value; `Invalid` if it is absent."""
        value = self.get(key)
        if value is None:
            raise Invalid(f"the configuration key {key!r} is missing")
        return value
