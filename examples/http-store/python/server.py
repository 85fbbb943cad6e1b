"""The protocol of `adapters/http`, over a file of SQLite."""

import os
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import uvicorn
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from authentication import PROTOCOL, Authentication, Unknown
from operations import NOW
from protocol import OPERATIONS, Ask, Json, Operation, Refused

BODY_BYTES = 2 * 1024 * 1024
WINDOW_MS = 60 * 1000  # no deadline is further away: for so long at most can a recorded request be sent again
KEEP_MS = 60 * 60 * 1000  # for how long answers and pieces are kept: hosts try again for seconds
STATUS = {"not-found": 404, "already-exists": 409, "stale-epoch": 409, "offset-mismatch": 409, "invalid": 400, "unavailable": 409}

DATABASE = Path(os.environ.get("STORE_DATABASE", "build/store.db"))
AUTHENTICATION = Authentication(os.environ.get("STORE_BEARER"), os.environ.get("STORE_HMAC"))
WRITER = threading.Lock()  # SQLite has one writer at a time; whoever waits here gets its turn, which SQLite does not promise


class Late(Exception):
    """Nobody waits for the answer any more, or not yet."""


class PerThread(threading.local):
    def __init__(self) -> None:
        DATABASE.parent.mkdir(parents=True, exist_ok=True)
        self.db = sqlite3.connect(DATABASE, isolation_level=None)
        self.db.executescript("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON; PRAGMA busy_timeout = 5000")
        # Where SQLite was built to overwrite what is deleted, deleting a session would take as long as writing it anew.
        self.db.execute("PRAGMA secure_delete = FAST")


THREAD = PerThread()


@contextmanager
def transaction(kind: str) -> Iterator[tuple[sqlite3.Connection, int]]:
    """A connection in a transaction, and the database's time at its beginning."""
    db = THREAD.db
    db.execute(f"BEGIN {kind}")
    try:
        yield db, db.execute(f"SELECT {NOW}").fetchone()[0]
        db.execute("COMMIT")
    finally:
        if db.in_transaction:
            db.execute("ROLLBACK")


def write(ask: Ask, function: Operation, is_remembered: bool) -> Json | bytes | None:
    with WRITER, transaction("IMMEDIATE") as (db, now):
        # Looked at where nothing can come in between any more: whoever sent it may have given it up, and have written something else since.
        if now > ask.deadline:
            raise Late("the request came after its deadline")
        if not is_remembered:
            return function(db, ask)
        key, digest = ask.header("idempotency-key"), ask.digest()
        known = db.execute("SELECT request, answer FROM answers WHERE key = ?", [key]).fetchone()
        if known and known[0] != digest:
            raise Refused("invalid", "the idempotency key is that of another write")
        if known:
            return msgspec.json.decode(known[1], type=Json | None)
        answer = function(db, ask)
        db.execute("INSERT INTO answers (key, request, answer, at) VALUES (?, ?, ?, ?)", [key, digest, msgspec.json.encode(answer), now])
        db.execute("DELETE FROM answers WHERE at < ?", [now - KEEP_MS])
        db.execute("DELETE FROM pieces WHERE at < ?", [now - KEEP_MS])
        return answer


def perform(ask: Ask) -> Json | bytes | None:
    function, is_remembered = OPERATIONS[ask.method, ask.path]
    AUTHENTICATION.check(ask)
    if abs(ask.deadline - time.time() * 1000) > WINDOW_MS:
        raise Late("the request's deadline is more than a minute away from this server's time")
    if ask.method != "GET":
        return write(ask, function, is_remembered)
    with transaction("DEFERRED") as (db, _):
        return function(db, ask)


def problem(status: int, title: str, **members: Any) -> Response:
    return JSONResponse({"title": title, "status": status, **members}, status, media_type="application/problem+json")


def answer(method: str, path: str, query: str, headers: Any, body: bytes) -> Response:
    try:
        found = perform(Ask(method, path, query, headers, body))
    except Unknown as error:
        return problem(401, "Unauthorized", detail=str(error))
    except Late as error:
        with transaction("DEFERRED") as (_, now):
            return problem(503, "Late", code="unavailable", detail=str(error), now=now)
    except Refused as error:
        return problem(STATUS[error.code], error.code, code=error.code, detail=str(error), **error.numbers)
    except (ValueError, msgspec.MsgspecError) as error:
        return problem(400, "invalid", code="invalid", detail=str(error))
    except sqlite3.OperationalError as error:
        return problem(503, "unavailable", code="unavailable", detail=f"the database failed: {error}")
    if found is None:
        return Response(status_code=204)
    if isinstance(found, bytes):
        return Response(found, media_type="application/octet-stream")
    return Response(msgspec.json.encode(found), media_type="application/json")


async def endpoint(request: Request) -> Response:
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > BODY_BYTES:
            return problem(413, "Content Too Large", detail=f"a body has {BODY_BYTES} bytes at most")
    path, query = request.scope["path"], request.scope["query_string"].decode("latin-1")
    return await run_in_threadpool(answer, request.method, path, query, request.headers, bytes(body))


def capabilities(request: Request) -> Response:
    with transaction("DEFERRED") as (_, now):
        document = {"protocol": PROTOCOL, "authentication": AUTHENTICATION.names, "leases": True, "maxBodyBytes": BODY_BYTES, "now": now}
    return JSONResponse(document)


class OneMethod(Route):
    """Answers just its method: no HEAD beside a GET."""

    def __init__(self, method: str, path: str) -> None:
        super().__init__(path, endpoint, methods=[method])
        self.methods = {method}


app = Starlette(routes=[Route("/", capabilities), *(OneMethod(method, path) for method, path in OPERATIONS)])

if __name__ == "__main__":
    THREAD.db.executescript(Path(__file__).with_name("schema.sql").read_text())
    # Hosts keep idle connections for half a minute. A server that closes them sooner makes them try again.
    host, port = os.environ.get("STORE_HOST", "127.0.0.1"), int(os.environ.get("STORE_PORT", "8080"))
    uvicorn.run(app, host=host, port=port, timeout_keep_alive=75, access_log=False)
