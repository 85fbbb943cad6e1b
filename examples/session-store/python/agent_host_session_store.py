"""Sessions of the Claude Agent SDK in the store of an Agent Host.

Pass an :class:`AgentHostSessionStore` as ``session_store`` in ``ClaudeAgentOptions``: the
transcripts of your program's sessions are then kept by whatever persistence adapter the host runs,
and any machine can resume them.

An append says where the transcript is expected to end. The host refuses one that is out of date,
and the store then reads what it has missed before it tries again. So no entry is lost, however many
programs write to a session, and one with a ``uuid`` that the transcript has already is not added
twice.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self, cast

import anyio
import httpx
from claude_agent_sdk import SessionStore, fold_session_summary

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from types import TracebackType

    from claude_agent_sdk import (
        SessionKey,
        SessionListSubkeysKey,
        SessionStoreEntry,
        SessionStoreListEntry,
        SessionSummaryEntry,
    )

__all__ = ["AgentHostError", "AgentHostSessionStore"]

# Lines that are sent together, in bytes. The host takes 16 MiB; a line is sent as long as it is.
MAX_BATCH_BYTES = 4 * 1024 * 1024

# Summaries that are brought up to date at once.
CONCURRENT_SUMMARIES = 8

# The first and the longest pause, in seconds, before a host that is away or busy is asked again.
PAUSE = (0.2, 5.0)

# The longest wait for an answer, in seconds. The host tries its own store for up to 30.
ANSWER_TIMEOUT = 40.0


class AgentHostError(Exception):
    """The host refused a call. ``code`` says why to programs, the text to people."""

    def __init__(self, status: int, problem: Mapping[str, Any]) -> None:
        self.status = status
        self.code = str(problem.get("code", "UNKNOWN"))
        self.length = cast("int | None", problem.get("length"))
        super().__init__(f"{self.code}: {problem.get('detail', f'the host answered {status}')}")


@dataclass
class _Line:
    """An entry as it is written."""

    uuid: str | None
    text: bytes


@dataclass
class _Transcript:
    """What is known of a transcript: how long it was when it was last seen, and what was in it."""

    length: int = 0
    uuids: set[str] = field(default_factory=set)
    lock: anyio.Lock = field(default_factory=anyio.Lock)

    def forget(self) -> None:
        self.length = 0
        self.uuids = set()

    def has_seen(self, entries: Iterable[SessionStoreEntry], length: int) -> None:
        self.uuids.update(entry["uuid"] for entry in entries if entry.get("uuid"))
        self.length += length

    def split(self, lines: list[_Line]) -> tuple[list[_Line], list[_Line]]:
        """The first lines that are not there yet, and all that come behind those."""
        batch: list[_Line] = []
        size, seen = 0, set(self.uuids)
        for index, line in enumerate(lines):
            if line.uuid is not None and line.uuid in seen:
                continue
            if batch and size + len(line.text) > MAX_BATCH_BYTES:
                return batch, lines[index:]
            batch.append(line)
            size += len(line.text)
            if line.uuid is not None:
                seen.add(line.uuid)
        return batch, []


@dataclass
class _Folded:
    """The summary of a transcript up to a byte. It belongs to the session that was created then."""

    created_at: int
    length: int = 0
    summary: SessionSummaryEntry | None = None


class AgentHostSessionStore(SessionStore):
    """Keeps sessions in the store of the host at ``url``. One event loop can use it; close it."""

    def __init__(
        self,
        url: str,
        *,
        api_key: str | None = None,
        namespace: str = "",
        agent_profile: str | None = None,
        patience: float = 30.0,
        client: httpx.AsyncClient | None = None,
    ) -> None:
        """``api_key`` is one of the host's ``auth.api_keys``.

        ``namespace`` is put before each project key: a tenant, where several share the host.
        ``agent_profile`` is the profile under which the host runs a session if it adopts it.
        ``patience`` is for how many seconds a host that is away or busy is asked again. The SDK
        gives up on an append after 60.
        ``client`` is used instead of one of the store's own, and not closed.
        """
        self._url = url.rstrip("/")
        self._headers = {"authorization": f"Bearer {api_key}"} if api_key else {}
        self._namespace = namespace
        self._agent_profile = agent_profile
        self._patience = patience
        self._own_client = client is None
        self._client = client or httpx.AsyncClient(timeout=ANSWER_TIMEOUT)
        self._transcripts: dict[tuple[str, str, str | None], _Transcript] = {}
        self._folded: dict[tuple[str, str], _Folded] = {}

    async def aclose(self) -> None:
        """Closes the connections."""
        if self._own_client:
            await self._client.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()

    async def append(self, key: SessionKey, entries: list[SessionStoreEntry]) -> None:
        lines = [_line(entry) for entry in entries]
        transcript = self._transcript(key)
        # The SDK appends one after the other; whoever else shares the store does not have to.
        async with transcript.lock:
            batch, rest = transcript.split(lines)
            while batch:
                if await self._append(key, transcript, batch):
                    lines = rest
                # If not, what is there already may be other lines than it seemed.
                batch, rest = transcript.split(lines)

    async def _append(self, key: SessionKey, transcript: _Transcript, batch: list[_Line]) -> bool:
        """Whether the batch was added. If not, what others have added was read."""
        data = b"".join(line.text for line in batch)
        query = self._query(key) | {"offset": str(transcript.length)}
        if self._agent_profile is not None:
            query["agentProfileRef"] = self._agent_profile
        try:
            await self._call("POST", "/session-store/transcript", query, data)
        except AgentHostError as error:
            if error.code != "OFFSET_MISMATCH":
                raise
            if error.length is not None and error.length <= transcript.length:
                # It was deleted and begun anew.
                transcript.forget()
            await self._catch_up(key, transcript)
            return False
        # Others may have added something behind it meanwhile, which is read when it is in the way.
        transcript.length += len(data)
        transcript.uuids.update(line.uuid for line in batch if line.uuid is not None)
        return True

    async def _catch_up(self, key: SessionKey, transcript: _Transcript) -> None:
        offset, data = await self._read_on(key, transcript.length)
        if offset < transcript.length:
            transcript.forget()
        try:
            entries = _entries(data or b"")
        except ValueError:
            # Not where a line begins: it is another transcript than the one that was seen.
            transcript.forget()
            data = await self._read(key, 0)
            entries = _entries(data or b"")
        if data is None:
            transcript.forget()
        else:
            transcript.has_seen(entries, len(data))

    async def load(self, key: SessionKey) -> list[SessionStoreEntry] | None:
        transcript = self._transcript(key)
        async with transcript.lock:
            data = await self._read(key, 0)
            transcript.forget()
            if data is None:
                return None
            entries = _entries(data)
            transcript.has_seen(entries, len(data))
            return entries

    async def list_sessions(self, project_key: str) -> list[SessionStoreListEntry]:
        sessions = await self._sessions(project_key)
        return [{"session_id": one["sessionId"], "mtime": one["modifiedAt"]} for one in sessions]

    async def list_session_summaries(self, project_key: str) -> list[SessionSummaryEntry]:
        """Folds what was added since the last call. The first one reads the transcripts."""
        sessions = await self._sessions(project_key)
        summaries: dict[str, SessionSummaryEntry] = {}
        limit = anyio.CapacityLimiter(CONCURRENT_SUMMARIES)

        async def summarize(session: dict[str, Any]) -> None:
            async with limit:
                summary = await self._summary(project_key, session)
            if summary is not None:
                summaries[session["sessionId"]] = summary

        async with anyio.create_task_group() as tasks:
            for session in sessions:
                tasks.start_soon(summarize, session)
        return list(summaries.values())

    async def _summary(
        self, project_key: str, session: dict[str, Any]
    ) -> SessionSummaryEntry | None:
        key: SessionKey = {"project_key": project_key, "session_id": session["sessionId"]}
        name = (key["project_key"], key["session_id"])
        known = self._folded.get(name)
        if known is None or known.created_at != session["createdAt"]:
            known = _Folded(session["createdAt"])
        offset, data = await self._read_on(key, known.length)
        if data is None:
            self._folded.pop(name, None)
            return None
        if offset < known.length:
            known = _Folded(session["createdAt"])
        summary = known.summary
        if data or summary is None:
            summary = fold_session_summary(summary, key, _entries(data))
        # The time of the list is that of all that was there then, which was read after.
        summary = {**summary, "mtime": session["modifiedAt"]}
        self._folded[name] = _Folded(known.created_at, known.length + len(data), summary)
        return summary

    async def delete(self, key: SessionKey) -> None:
        await self._call("DELETE", "/session-store/transcript", self._query(key))
        name = _name(key)
        for other in [other for other in self._transcripts if other[:2] == name[:2]]:
            if name[2] is None or other == name:
                del self._transcripts[other]

    async def list_subkeys(self, key: SessionListSubkeysKey) -> list[str]:
        query = self._query(cast("SessionKey", dict(key)))
        try:
            found = await self._call("GET", "/session-store/transcripts", query)
        except AgentHostError as error:
            if error.code == "SESSION_NOT_FOUND":
                return []
            raise
        return [one["subpath"] for one in found.json()["transcripts"] if "subpath" in one]

    async def adopt(self, key: SessionKey) -> str:
        """Has the host run the session from now on, and gives its id in the host.

        What is appended after that is refused (``SESSION_ADOPTED``); it can still be loaded.
        """
        found = await self._call("GET", "/session-store/transcripts", self._query(key, False))
        session = str(found.json()["session"]["hostSessionId"])
        await self._call("POST", f"/sessions/{session}/adopt", {})
        return session

    def _transcript(self, key: SessionKey) -> _Transcript:
        return self._transcripts.setdefault(_name(key), _Transcript())

    def _query(self, key: SessionKey, with_subpath: bool = True) -> dict[str, str]:
        project_key = self._namespace + key["project_key"]
        query = {"projectKey": project_key, "sessionId": key["session_id"]}
        if with_subpath and (subpath := key.get("subpath")) is not None:
            query["subpath"] = subpath
        return query

    async def _read(self, key: SessionKey, offset: int) -> bytes | None:
        query = self._query(key) | {"offset": str(offset)}
        try:
            return (await self._call("GET", "/session-store/transcript", query)).content
        except AgentHostError as error:
            if error.code in ("SESSION_NOT_FOUND", "TRANSCRIPT_NOT_FOUND"):
                return None
            raise

    async def _read_on(self, key: SessionKey, offset: int) -> tuple[int, bytes | None]:
        """What is there from `offset` on, and where that begins.

        At 0 if the transcript ends before: it was deleted and begun anew.
        """
        try:
            return offset, await self._read(key, offset)
        except AgentHostError as error:
            if error.code != "OFFSET_MISMATCH":
                raise
            return 0, await self._read(key, 0)

    async def _sessions(self, project_key: str) -> list[dict[str, Any]]:
        sessions: list[dict[str, Any]] = []
        query = {"projectKey": self._namespace + project_key}
        while True:
            page = (await self._call("GET", "/session-store/sessions", query)).json()
            sessions += page["sessions"]
            if "nextCursor" not in page:
                return sessions
            query["cursor"] = page["nextCursor"]

    async def _call(
        self, method: str, path: str, query: dict[str, str], content: bytes | None = None
    ) -> httpx.Response:
        """Asks the host, again while it is away or busy: each of these calls may be repeated."""
        pause, longest = PAUSE
        give_up_at = anyio.current_time() + self._patience
        while True:
            failure: Exception
            try:
                response = await self._client.request(
                    method, self._url + path, params=query, content=content, headers=self._headers
                )
            except httpx.TransportError as error:
                failure = error
            else:
                if response.is_success:
                    return response
                failure = AgentHostError(response.status_code, _problem(response))
                if response.status_code not in (429, 503):
                    raise failure
            if anyio.current_time() + pause > give_up_at:
                raise failure
            await anyio.sleep(pause)
            pause = min(pause * 2, longest)


def _name(key: SessionKey) -> tuple[str, str, str | None]:
    return key["project_key"], key["session_id"], key.get("subpath")


def _line(entry: SessionStoreEntry) -> _Line:
    text = json.dumps(entry, separators=(",", ":")).encode() + b"\n"
    return _Line(entry.get("uuid") or None, text)


def _entries(data: bytes) -> list[SessionStoreEntry]:
    # Not by `splitlines`, which knows more ends of lines than JSON lines do.
    return [json.loads(line) for line in data.split(b"\n") if line]


def _problem(response: httpx.Response) -> Mapping[str, Any]:
    try:
        problem = response.json()
    except ValueError:
        return {}
    return problem if isinstance(problem, dict) else {}
