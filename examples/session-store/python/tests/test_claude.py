"""The SDK with a real `claude`: its session is kept in the host, and resumed from there elsewhere.

`CLAUDE_PROGRAM` names the program; its model's API is found by the usual variables.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from claude_agent_sdk import (
    AssistantMessage,
    ClaudeAgentOptions,
    ResultMessage,
    TextBlock,
    get_session_messages_from_store,
    list_sessions_from_store,
    project_key_for_directory,
    query,
)

if TYPE_CHECKING:
    from pathlib import Path

    from agent_host_session_store import AgentHostSessionStore
    from conftest import MakeStore

PROGRAM = os.environ.get("CLAUDE_PROGRAM")

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(PROGRAM is None, reason="CLAUDE_PROGRAM does not name a `claude`"),
]


async def turn(
    store: AgentHostSessionStore, prompt: str, work: Path, home: Path, resume: str | None = None
) -> tuple[str, str]:
    """A turn of a process with a home directory of its own: what it said, in which session."""
    home.mkdir()
    options = ClaudeAgentOptions(
        session_store=store,
        cli_path=PROGRAM,
        cwd=work,
        resume=resume,
        permission_mode="bypassPermissions",
        env={"CLAUDE_CONFIG_DIR": str(home), "HOME": str(home), "IS_SANDBOX": "1"},
    )
    said, session = [], ""
    async for message in query(prompt=prompt, options=options):
        if isinstance(message, AssistantMessage):
            said += [block.text for block in message.content if isinstance(block, TextBlock)]
        if isinstance(message, ResultMessage):
            session = message.session_id
    return "\n".join(said), session


async def test_a_session_is_resumed_from_the_host(make_store: MakeStore, tmp_path: Path) -> None:
    work = tmp_path / "work"
    work.mkdir()
    said, session = await turn(make_store(), "text said before", work, tmp_path / "home-1")
    assert said == "said before"
    said, resumed = await turn(make_store(), "history", work, tmp_path / "home-2", session)
    assert "text said before" in said
    assert resumed == session

    store = make_store()
    (listed,) = await list_sessions_from_store(store, directory=str(work))
    assert (listed.session_id, listed.first_prompt) == (session, "text said before")
    messages = await get_session_messages_from_store(store, session, directory=str(work))
    uuids = [message.uuid for message in messages]
    assert [message.type for message in messages] == ["user", "assistant"] * 2
    assert len(set(uuids)) == len(uuids)


async def test_a_subagents_transcript_is_kept_beside(make_store: MakeStore, tmp_path: Path) -> None:
    work = tmp_path / "work"
    work.mkdir()
    _, session = await turn(make_store(), "subagent", work, tmp_path / "home")
    store = make_store()
    project = project_key_for_directory(work)
    subkeys = await store.list_subkeys({"project_key": project, "session_id": session})
    assert len(subkeys) == 1
    assert subkeys[0].startswith("subagents/agent-")
