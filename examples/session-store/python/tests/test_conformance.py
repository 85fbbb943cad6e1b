"""The SDK's own suite."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

import pytest
from claude_agent_sdk.testing import run_session_store_conformance

from agent_host_session_store import AgentHostSessionStore
from conftest import KEY, URL

if TYPE_CHECKING:
    import httpx

CONTRACTS = 14


@pytest.mark.anyio
async def test_all_contracts_of_the_sdk_are_kept(client: httpx.AsyncClient) -> None:
    made = 0

    def make() -> AgentHostSessionStore:
        nonlocal made
        made += 1
        namespace = f"test-{uuid.uuid4()}/"
        return AgentHostSessionStore(URL, api_key=KEY, namespace=namespace, client=client)

    await run_session_store_conformance(make)
    # One to look at which methods there are, and one for each contract: none was skipped.
    assert made == 1 + CONTRACTS
    print(f"{made - 1} contracts kept")
