"""What is logged reaches the host."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from wit_world.imports import logging as host

from agent_host.log import HostHandler

if TYPE_CHECKING:
    import pytest


def test_half_of_a_surrogate_pair_is_logged_as_a_question_mark(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    written: list[tuple[host.Level, str, str]] = []
    monkeypatch.setattr(host, "log", lambda *line: written.append(line))
    logger = logging.Logger("a \ud800")
    logger.addHandler(HostHandler())
    logger.warning("it says %s", "\ud800")
    assert written == [(host.Level.WARN, "a ?", "it says ?")]
