"""A store for each test, on the host that ./test.sh names, in a namespace of the test's own."""

from __future__ import annotations

import os
import uuid
from typing import TYPE_CHECKING

import httpx
import pytest

from agent_host_session_store import ANSWER_TIMEOUT, AgentHostSessionStore

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    MakeStore = Callable[..., AgentHostSessionStore]

URL = os.environ["AGENT_HOST_URL"]
KEY = os.environ.get("AGENT_HOST_KEY") or None


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(timeout=ANSWER_TIMEOUT) as client:
        yield client


@pytest.fixture
def namespace() -> str:
    return f"test-{uuid.uuid4()}/"


@pytest.fixture
def make_store(client: httpx.AsyncClient, namespace: str) -> MakeStore:
    """Stores of one namespace, as if they were in different programs."""

    def make(client: httpx.AsyncClient = client) -> AgentHostSessionStore:
        return AgentHostSessionStore(URL, api_key=KEY, namespace=namespace, client=client)

    return make


@pytest.fixture
def store(make_store: MakeStore) -> AgentHostSessionStore:
    return make_store()
