"""What the suite does not ask for: duplicates, several programs, answers that are lost."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

import anyio
import httpx
import pytest

from agent_host_session_store import MAX_BATCH_BYTES, AgentHostError, AgentHostSessionStore
from conftest import KEY, URL

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from claude_agent_sdk import SessionKey

    from conftest import MakeStore

pytestmark = pytest.mark.anyio

SESSION: SessionKey = {"project_key": "project", "session_id": "session"}
SUBAGENT: SessionKey = {**SESSION, "subpath": "subagents/agent-a1"}


def entries(*names: str) -> list[Any]:
    return [{"type": "x", "uuid": name, "text": f"{name} ü💡 \u2028"} for name in names]


async def test_an_entry_is_there_once_however_often_it_is_appended(make_store: MakeStore) -> None:
    first, second = make_store(), make_store()
    await first.append(SESSION, entries("a", "b", "b"))
    await first.append(SESSION, entries("b", "c"))
    # One that has seen nothing of it, as after a restart of the program.
    await second.append(SESSION, entries("a", "c", "d"))
    await first.append(SESSION, entries("d", "e"))
    # In another transcript it is another entry.
    await second.append(SUBAGENT, entries("a"))
    assert await first.load(SESSION) == entries("a", "b", "c", "d", "e")
    assert await first.load(SUBAGENT) == entries("a")


async def test_entries_without_a_uuid_are_all_kept(store: AgentHostSessionStore) -> None:
    mode: list[Any] = [{"type": "mode", "mode": "plan"}]
    await store.append(SESSION, mode)
    await store.append(SESSION, mode + mode)
    assert await store.load(SESSION) == mode * 3


async def test_programs_that_write_at_once_lose_nothing(make_store: MakeStore) -> None:
    programs, turns = 8, 12

    async def program(number: int) -> None:
        store = make_store()
        for turn in range(turns):
            await store.append(SESSION, entries(f"{number}-{turn}", "of all"))

    async with anyio.create_task_group() as tasks:
        for number in range(programs):
            tasks.start_soon(program, number)
    loaded = await make_store().load(SESSION)
    assert loaded is not None
    found = [entry["uuid"] for entry in loaded]
    wanted = {f"{number}-{turn}" for number in range(programs) for turn in range(turns)}
    assert sorted(found) == sorted({*wanted, "of all"})
    for number in range(programs):
        own = [name for name in found if name.startswith(f"{number}-")]
        assert own == [f"{number}-{turn}" for turn in range(turns)]


class Forgetful(httpx.AsyncBaseTransport):
    """A network that loses the answer to every second request that changes something."""

    def __init__(self) -> None:
        self.inner = httpx.AsyncHTTPTransport()
        self.changes = 0

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        response = await self.inner.handle_async_request(request)
        if request.method != "GET":
            self.changes += 1
            if self.changes % 2 == 1:
                await response.aread()
                await response.aclose()
                raise httpx.ReadError("the answer was lost", request=request)
        return response

    async def aclose(self) -> None:
        await self.inner.aclose()


async def test_an_append_whose_answer_was_lost_is_not_repeated(make_store: MakeStore) -> None:
    async with httpx.AsyncClient(transport=Forgetful()) as client:
        store = make_store(client)
        mode: list[Any] = [{"type": "mode"}]
        for name in "abc":
            await store.append(SESSION, entries(name) + mode)
        assert await store.load(SESSION) == [
            entry for name in "abc" for entry in [*entries(name), *mode]
        ]
        await store.delete(SESSION)
        assert await store.load(SESSION) is None


async def test_large_batches_go_in_parts(store: AgentHostSessionStore) -> None:
    # The last is a line that is longer than a part by itself.
    sizes = [MAX_BATCH_BYTES // 3] * 5 + [MAX_BATCH_BYTES + 1]
    large: list[Any] = [
        {"type": "x", "uuid": str(number), "text": "x" * size} for number, size in enumerate(sizes)
    ]
    await store.append(SESSION, large)
    assert await store.load(SESSION) == large


async def test_a_session_that_another_program_has_deleted_begins_anew(
    make_store: MakeStore,
) -> None:
    first, second = make_store(), make_store()
    await first.append(SESSION, entries("a", "b"))
    await first.append(SUBAGENT, entries("s"))
    await second.delete(SESSION)
    assert await first.load(SUBAGENT) is None
    await first.append(SESSION, entries("c"))
    assert await second.load(SESSION) == entries("c")
    # And grown beyond what the first has seen, with another line where that ended.
    await second.delete(SESSION)
    await second.append(SESSION, entries("another", "and another"))
    await first.append(SESSION, entries("d", "c"))
    assert await second.load(SESSION) == entries("another", "and another", "d", "c")


async def test_names_are_any_text(store: AgentHostSessionStore) -> None:
    names = ["..", "a/b", "a%2Fb", "ü💡", "a b&c=d#e", "-root-my-project"]
    for name in names:
        key: SessionKey = {"project_key": name, "session_id": name, "subpath": name}
        await store.append(key, entries(name))
        await store.append({"project_key": name, "session_id": name}, entries("main"))
    for name in names:
        session: SessionKey = {"project_key": name, "session_id": name}
        assert await store.load({**session, "subpath": name}) == entries(name)
        assert await store.list_subkeys({"project_key": name, "session_id": name}) == [name]
        assert [one["session_id"] for one in await store.list_sessions(name)] == [name]


@pytest.mark.parametrize("name", ["", "a\0b", "x" * 1000])
async def test_names_that_cannot_be_kept_are_refused(
    store: AgentHostSessionStore, name: str
) -> None:
    for key in [{**SESSION, "session_id": name}, {**SESSION, "subpath": name}]:
        with pytest.raises(AgentHostError, match="INVALID_REQUEST"):
            await store.append(key, entries("a"))  # type: ignore[arg-type]
    assert await store.list_sessions("project") == []


async def test_summaries_follow_what_is_added(make_store: MakeStore) -> None:
    store, other = make_store(), make_store()

    async def titles() -> list[Any]:
        summaries = await store.list_session_summaries("project")
        return [summary["data"].get("custom_title") for summary in summaries]

    def titled(title: str) -> list[Any]:
        return [{"type": "custom-title", "customTitle": title}]

    await other.append(SESSION, titled("one"))
    assert await titles() == ["one"]
    await other.append(SESSION, titled("two"))
    assert await titles() == ["two"]
    assert await titles() == ["two"]
    await other.delete(SESSION)
    assert await titles() == []
    await other.append(SESSION, [{"type": "x"}] * 100)
    assert await titles() == [None]


class Between(httpx.AsyncBaseTransport):
    """A network on which something else happens behind the first list of sessions."""

    def __init__(self, happens: Callable[[], Awaitable[None]]) -> None:
        self.inner = httpx.AsyncHTTPTransport()
        self.happens: Callable[[], Awaitable[None]] | None = happens

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        response = await self.inner.handle_async_request(request)
        if request.url.path == "/session-store/sessions" and (happens := self.happens):
            self.happens = None
            await happens()
        return response

    async def aclose(self) -> None:
        await self.inner.aclose()


async def test_a_session_that_is_begun_anew_while_summaries_are_made_is_read_from_its_beginning(
    make_store: MakeStore,
) -> None:
    other = make_store()
    titles: list[list[Any]] = [
        [{"type": "custom-title", "customTitle": title}] for title in ("long" * 100, "short")
    ]
    await other.append(SESSION, titles[0])

    async def begin_anew() -> None:
        await other.delete(SESSION)
        await other.append(SESSION, titles[1])

    async def nothing() -> None:
        pass

    transport = Between(nothing)
    async with httpx.AsyncClient(transport=transport) as client:
        store = make_store(client)
        await store.list_session_summaries("project")
        transport.happens = begin_anew
        (summary,) = await store.list_session_summaries("project")
        assert summary["data"]["custom_title"] == "short"


async def test_an_adopted_session_is_the_hosts(make_store: MakeStore) -> None:
    store = make_store()
    said = {"role": "user", "content": "hello from outside"}
    first, last = (str(uuid.uuid4()) for _ in range(2))
    conversation: list[Any] = [{"type": "user", "uuid": first, "message": said}]
    await store.append(SESSION, conversation)
    host_session = await store.adopt(SESSION)
    assert await store.adopt(SESSION) == host_session
    another: list[Any] = [{"type": "user", "uuid": last, "message": said}]
    with pytest.raises(AgentHostError, match="SESSION_ADOPTED"):
        await store.append(SESSION, another)
    assert await store.load(SESSION) == conversation
    async with httpx.AsyncClient(headers={"authorization": f"Bearer {KEY}"}) as client:
        shown = (await client.get(f"{URL}/sessions/{host_session}")).json()
    assert [block["content"] for block in shown["blocks"]] == ["hello from outside"]
    with pytest.raises(AgentHostError, match="SESSION_ADOPTED"):
        await store.delete(SESSION)
    assert await store.load(SESSION) == conversation


async def test_a_host_that_is_not_there_is_waited_for_and_then_told() -> None:
    async with AgentHostSessionStore("http://127.0.0.1:9", patience=0.5) as store:
        with pytest.raises(httpx.ConnectError):
            await store.load(SESSION)
