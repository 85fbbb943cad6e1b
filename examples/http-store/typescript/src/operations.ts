/** The contract, in the tables of `schema.sql`. Each operation runs in one transaction; one that throws changes nothing. */

import { createHash } from "node:crypto";

import { list, matching, number, object, optional, text, type Checked } from "./checks.js";
import { reads, Refused, repeats, writes, type Ask, type Sql } from "./protocol.js";

/** A read takes rows as wholes: so much at most in vain at either end. */
const CHUNK_BYTES = 256 * 1024;
/** What comes in pieces is put together in memory. */
const CONTENT_BYTES = 64 * 1024 * 1024;
/** A page ends here, however many were asked for: hosts let answers of some megabytes pass. */
const PAGE_CHARACTERS = 2 * 1024 * 1024;
const PAGE_ROWS = 50;
const PAGE_FILES = 5000;
const READ_BYTES = 1024 * 1024;

const time = number();
const ttl = number(1, 24 * 60 * 60 * 1000);
const changes = object({ lastActivity: optional(time), name: optional(text), options: optional(text), extra: optional(text) });
const session = object({
    id: matching(/^[A-Za-z0-9_-][A-Za-z0-9._-]{0,127}$/),
    createdAt: time,
    lastActivity: time,
    profile: text,
    architecture: text,
    name: optional(text),
    options: optional(text),
    extra: optional(text),
});
const profile = object({ profile: object({ id: text, name: text, description: optional(text) }), document: text });
const acquisition = object({ owner: object({ id: text, address: text }), ttl });
const renewal = object({ owner: text, ttl, sessions: list(text, 500) });

async function find(sql: Sql, id: string): Promise<{ epoch: number; version: number; record: string }> {
    const [row] = await sql<
        { epoch: number; version: number; record: string }[]
    >`SELECT epoch, version, record FROM sessions WHERE id = ${id}`;
    if (!row) throw new Refused("not-found", `there is no session ${JSON.stringify(id)}`);
    return row;
}

/** Takes the session for a write with this epoch, and gives its id. No other write has it until the transaction ends. */
async function claim(sql: Sql, ask: Ask): Promise<string> {
    const [id, epoch] = [ask.text("session"), ask.epoch];
    const claimed = await sql`UPDATE sessions SET epoch = ${epoch}, version = version + 1 WHERE id = ${id} AND epoch <= ${epoch}`;
    if (claimed.count === 0) {
        const highest = (await find(sql, id)).epoch;
        throw new Refused("stale-epoch", `session ${id} has the epoch ${highest}, and ${epoch} is lower`, { epoch: highest });
    }
    return id;
}

reads("GET /health", async (sql) => {
    await sql`SELECT 1 FROM sessions LIMIT 1`;
});

writes("POST /sessions", async (sql, ask) => {
    const record = ask.json(session);
    const { count } = await sql`
        INSERT INTO sessions (id, created_at, epoch, record)
        VALUES (${record.id}, ${record.createdAt}, ${ask.epoch}, ${JSON.stringify(record)}) ON CONFLICT DO NOTHING`;
    if (count === 0) throw new Refused("already-exists", `there is already a session ${record.id}`);
});

reads("GET /sessions", async (sql, ask) => {
    const [limit, cursor] = [ask.number("limit", 1000), ask.query.get("cursor") ?? `${Number.MAX_SAFE_INTEGER}/~`];
    const place = /^(\d{1,16})\/([\w.~-]+)$/.exec(cursor);
    if (limit === 0 || !place) throw new Refused("invalid", "the limit is 0, or the cursor was not given by this server");
    const rows = sql<{ place: string; record: string }[]>`
        SELECT created_at || '/' || id AS place, record FROM sessions WHERE (created_at, id) < (${Number(place[1])}, ${place[2]!})
        ORDER BY created_at DESC, id DESC LIMIT ${limit + 1}`;
    const sessions: unknown[] = [];
    let [size, last] = [0, ""];
    // As many as there is room for, and not all that there may be: records can be large.
    for await (const some of rows.cursor(PAGE_ROWS)) {
        for (const { place: here, record } of some) {
            if (sessions.length === limit || size > PAGE_CHARACTERS) return { sessions, next: last };
            sessions.push(JSON.parse(record));
            [size, last] = [size + record.length, here];
        }
    }
    return { sessions };
});

reads("GET /session", async (sql, ask) => {
    const id = ask.text("session");
    const { epoch, version, record } = await find(sql, id);
    const streams = await sql`SELECT name, length FROM streams WHERE session = ${id} ORDER BY name`;
    const files = await sql<{ path: string; info: string }[]>`
        SELECT path, info FROM files WHERE session = ${id} AND path > ${ask.query.get("cursor") ?? ""} ORDER BY path LIMIT ${PAGE_FILES + 1}`;
    const page = files.slice(0, PAGE_FILES);
    return {
        epoch,
        version: String(version),
        session: JSON.parse(record),
        streams,
        files: page.map(({ info }) => JSON.parse(info)),
        next: files.length > page.length ? page.at(-1)?.path : undefined,
    };
});

writes("PATCH /session", async (sql, ask) => {
    const id = await claim(sql, ask);
    const named = Object.entries(ask.json(changes)).filter(([, value]) => value !== undefined);
    const changed = { ...JSON.parse((await find(sql, id)).record), ...Object.fromEntries(named) };
    await sql`UPDATE sessions SET record = ${JSON.stringify(changed)} WHERE id = ${id}`;
});

writes("DELETE /session", async (sql, ask) => {
    const found = await sql`SELECT FROM sessions WHERE id = ${ask.text("session")} FOR UPDATE`;
    if (found.count > 0) await sql`DELETE FROM sessions WHERE id = ${await claim(sql, ask)}`;
});

async function read(sql: Sql, id: string, owner: string, offset: number, most: number): Promise<Buffer> {
    const rows = await sql<{ start: number; data: Buffer }[]>`
        SELECT start, data FROM chunks WHERE session = ${id} AND owner = ${owner} AND start < ${offset + most} AND start >=
            (SELECT COALESCE(MAX(start), 0) FROM chunks WHERE session = ${id} AND owner = ${owner} AND start <= ${offset}) ORDER BY start`;
    const skip = offset - (rows[0]?.start ?? offset);
    return Buffer.concat(rows.map(({ data }) => data)).subarray(skip, skip + most);
}

/** Statements that need nothing of each other's results are sent at once; the database runs them in their order. */
const put = (sql: Sql, id: string, owner: string, start: number, data: Buffer): Promise<unknown>[] =>
    Array.from({ length: Math.ceil(data.length / CHUNK_BYTES) }, (_, index) => {
        const chunk = data.subarray(index * CHUNK_BYTES, (index + 1) * CHUNK_BYTES);
        return sql`INSERT INTO chunks (session, owner, start, data) VALUES (${id}, ${owner}, ${start + index * CHUNK_BYTES}, ${chunk})`.execute();
    });

const cut = (sql: Sql, id: string, owner: string): Promise<unknown> =>
    sql`DELETE FROM chunks WHERE session = ${id} AND owner = ${owner}`.execute();

const setLength = (sql: Sql, id: string, stream: string, length: number): Promise<unknown> =>
    sql`INSERT INTO streams (session, name, length) VALUES (${id}, ${stream}, ${length})
        ON CONFLICT (session, name) DO UPDATE SET length = excluded.length`.execute();

repeats("PUT /piece", async (sql, ask) => {
    const [write, offset] = [ask.text("write"), ask.number("offset", CONTENT_BYTES - ask.body.length)];
    await sql`INSERT INTO pieces (write, start, data) VALUES (${write}, ${offset}, ${ask.body})
        ON CONFLICT (write, start) DO UPDATE SET data = excluded.data, at = excluded.at`;
});

/** All of what a write is to write: the pieces that were brought before, and its body. */
async function content(sql: Sql, ask: Ask): Promise<Buffer> {
    const [write, staged] = [ask.header("idempotency-key"), ask.number("staged")];
    if (staged === 0) return ask.body;
    const pieces = await sql<{ data: Buffer }[]>`SELECT data FROM pieces WHERE write = ${write} ORDER BY start`;
    const whole = Buffer.concat([...pieces.map(({ data }) => data), ask.body]);
    if (whole.length !== staged + ask.body.length) {
        throw new Refused("unavailable", `of the ${staged} bytes that were brought before this write not all are there`);
    }
    await sql`DELETE FROM pieces WHERE write = ${write}`;
    return whole;
}

writes("POST /stream", async (sql, ask) => {
    const [id, stream, offset, data] = [await claim(sql, ask), ask.text("stream"), ask.number("offset"), await content(sql, ask)];
    const [row] = await sql<{ length: number }[]>`SELECT length FROM streams WHERE session = ${id} AND name = ${stream}`;
    const length = row?.length ?? 0;
    const overlap = Math.max(0, Math.min(length - offset, data.length));
    const isThere = overlap === 0 || (await read(sql, id, `stream/${stream}`, offset, overlap)).equals(data.subarray(0, overlap));
    if (offset > length || !isThere) {
        throw new Refused("offset-mismatch", `stream ${stream} of session ${id} has ${length} bytes, or others there`, { length });
    }
    const end = length + data.length - overlap;
    await Promise.all([...put(sql, id, `stream/${stream}`, length, data.subarray(overlap)), setLength(sql, id, stream, end)]);
    return { length: end };
});

writes("PUT /stream", async (sql, ask) => {
    const [id, stream, data] = [await claim(sql, ask), ask.text("stream"), await content(sql, ask)];
    const owner = `stream/${stream}`;
    await Promise.all([cut(sql, id, owner), ...put(sql, id, owner, 0, data), setLength(sql, id, stream, data.length)]);
    return { length: data.length };
});

reads("GET /stream", async (sql, ask) => {
    const id = ask.text("session");
    await find(sql, id);
    return read(sql, id, `stream/${ask.text("stream")}`, ask.number("offset"), ask.number("max", READ_BYTES));
});

writes("PUT /file", async (sql, ask) => {
    const [id, path, data] = [await claim(sql, ask), ask.text("path"), await content(sql, ask)];
    const [size, sha256, extra] = [ask.number("size"), ask.text("sha256"), ask.query.get("extra")];
    if (data.length !== size || createHash("sha256").update(data).digest("hex") !== sha256) {
        throw new Refused("invalid", `the contents of ${path} are not those that its size and digest say`);
    }
    const info = JSON.stringify({ path, size, sha256, createdAt: ask.number("createdAt"), modifiedAt: ask.number("modifiedAt"), extra });
    const save = sql`INSERT INTO files (session, path, info) VALUES (${id}, ${path}, ${info})
        ON CONFLICT (session, path) DO UPDATE SET info = excluded.info`;
    await Promise.all([save, cut(sql, id, `file/${path}`), ...put(sql, id, `file/${path}`, 0, data)]);
});

reads("GET /file", async (sql, ask) => {
    const [id, path] = [ask.text("session"), ask.text("path")];
    const found = await sql`SELECT FROM files WHERE session = ${id} AND path = ${path}`;
    if (found.count === 0) throw new Refused("not-found", `session ${id} has no file ${JSON.stringify(path)}`);
    return read(sql, id, `file/${path}`, ask.number("offset"), ask.number("max", READ_BYTES));
});

writes("DELETE /file", async (sql, ask) => {
    const [id, path] = [await claim(sql, ask), ask.text("path")];
    await sql`DELETE FROM files WHERE session = ${id} AND path = ${path}`;
    await cut(sql, id, `file/${path}`);
});

reads("GET /profiles", async (sql) => {
    const rows = await sql<{ summary: string }[]>`SELECT summary FROM profiles ORDER BY id`;
    return { profiles: rows.map(({ summary }) => JSON.parse(summary)) };
});

reads("GET /profile", async (sql, ask) => {
    const [row] = await sql<
        { summary: string; document: string }[]
    >`SELECT summary, document FROM profiles WHERE id = ${ask.text("profile")}`;
    if (!row) throw new Refused("not-found", `there is no profile ${JSON.stringify(ask.text("profile"))}`);
    return { profile: JSON.parse(row.summary), document: row.document };
});

writes("PUT /profile", async (sql, ask) => {
    const saved: Checked<typeof profile> = ask.json(profile);
    if (saved.profile.id !== ask.text("profile")) throw new Refused("invalid", "the profile has another id than the request");
    await sql`INSERT INTO profiles (id, summary, document) VALUES (${saved.profile.id}, ${JSON.stringify(saved.profile)}, ${saved.document})
        ON CONFLICT (id) DO UPDATE SET summary = excluded.summary, document = excluded.document`;
});

writes("DELETE /profile", async (sql, ask) => {
    await sql`DELETE FROM profiles WHERE id = ${ask.text("profile")}`;
});

repeats("POST /lease", async (sql, ask) => {
    const { owner, ttl } = ask.json(acquisition);
    const [found] = await sql<{ id: string }[]>`SELECT id FROM sessions WHERE id = ${ask.text("session")} FOR UPDATE`;
    if (!found) throw new Refused("not-found", `there is no session ${JSON.stringify(ask.text("session"))}`);
    // That it has ended is decided once. Whoever had it, and may still think so, can write nothing more.
    const ended = await sql`DELETE FROM leases WHERE session = ${found.id} AND owner <> ${owner.id} AND expires <= now_ms()`;
    if (ended.count > 0) await sql`UPDATE sessions SET epoch = epoch + 1, version = version + 1 WHERE id = ${found.id}`;
    await sql`
        INSERT INTO leases (session, owner, address, expires) VALUES (${found.id}, ${owner.id}, ${owner.address}, now_ms() + ${ttl})
        ON CONFLICT (session) DO UPDATE SET address = excluded.address, expires = excluded.expires WHERE leases.owner = excluded.owner`;
    return lease(sql, found.id);
});

reads("GET /lease", (sql, ask) => lease(sql, ask.text("session")));

async function lease(sql: Sql, id: string): Promise<object> {
    const [row] = await sql<{ owner: string; address: string; rest: number }[]>`
        SELECT owner, address, GREATEST(0, expires - now_ms()) AS rest FROM leases WHERE session = ${id}`;
    if (!row) throw new Refused("not-found", `nobody has a lease on session ${JSON.stringify(id)}`);
    return { owner: { id: row.owner, address: row.address }, expiresIn: row.rest };
}

repeats("DELETE /lease", async (sql, ask) => {
    await sql`DELETE FROM leases WHERE session = ${ask.text("session")} AND owner = ${ask.text("owner")}`;
});

repeats("POST /leases", async (sql, ask) => {
    const { owner, ttl, sessions } = ask.json(renewal);
    // In one order, so that no two of them wait for each other.
    const kept = await sql<{ session: string }[]>`
        UPDATE leases SET expires = now_ms() + ${ttl} WHERE owner = ${owner} AND session IN
            (SELECT session FROM leases WHERE session = ANY(${sessions}) ORDER BY session FOR UPDATE) RETURNING session`;
    const keeps = new Set(kept.map(({ session }) => session));
    return { lost: sessions.filter((session) => !keeps.has(session)) };
});
