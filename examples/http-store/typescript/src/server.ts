/** The protocol of `adapters/http`, over PostgreSQL. */

import { readFileSync } from "node:fs";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import postgres from "postgres";

import { Authentication, PROTOCOL, Unknown } from "./authentication.js";
import "./operations.js";
import { Ask, operations, Refused, statuses, type Answer, type Operation } from "./protocol.js";

const BODY_BYTES = 2 * 1024 * 1024;
/** No deadline is further away: for so long at most can a recorded request be sent again. */
const WINDOW_MS = 60_000;
/** What the database says of text with a NUL in it, which it cannot hold. */
const NO_SUCH_TEXT = "22021";

const authentication = new Authentication(process.env.STORE_BEARER, process.env.STORE_HMAC);
const sql = postgres(process.env.DATABASE_URL ?? "", {
    connection: { application_name: "http-store", lock_timeout: 5_000, statement_timeout: 5_000 },
    connect_timeout: 5,
    onnotice: () => {},
    // Numbers stay below 2^53.
    types: { bigint: { to: 20, from: [20], serialize: String, parse: Number } },
});

/** Nobody waits for the answer any more, or not yet. */
class Late extends Error {}

async function now(): Promise<number> {
    const [row] = await sql<[{ now: number }]>`SELECT now_ms() AS now`;
    return row.now;
}

type InTime = [{ late: boolean }];

async function write(ask: Ask, { run, remembered }: Operation): Promise<Answer> {
    const answer = await sql.begin(async (sql) => {
        const key = ask.header("idempotency-key");
        if (remembered) {
            // A repetition waits here until the first has ended.
            const { count } = await sql`INSERT INTO answers (key, request) VALUES (${key}, ${ask.digest()}) ON CONFLICT DO NOTHING`;
            if (count === 0) {
                const [known] = await sql<[{ request: string; answer: string }]>`SELECT request, answer FROM answers WHERE key = ${key}`;
                if (known.request !== ask.digest()) throw new Refused("invalid", "the idempotency key is that of another write");
                return JSON.parse(known.answer) as object | null;
            }
        }
        const answer = await run(sql, ask);
        const done = JSON.stringify(answer ?? null);
        // Looked at when nothing can come in between any more: whoever sent it may have given it up, and have written something else since.
        const [{ late }] = remembered
            ? await sql<InTime>`UPDATE answers SET answer = ${done} WHERE key = ${key} RETURNING now_ms() > ${ask.deadline} AS late`
            : await sql<InTime>`SELECT now_ms() > ${ask.deadline} AS late`;
        if (late) throw new Late("the request came after its deadline");
        return answer ?? null;
    });
    return (answer as object | null) ?? undefined;
}

async function perform(ask: Ask): Promise<Answer> {
    const operation = operations.get(`${ask.method} ${ask.path}`);
    if (!operation) throw new Refused("invalid", `there is no ${ask.method} ${ask.path}`);
    authentication.check(ask);
    if (Math.abs(ask.deadline - Date.now()) > WINDOW_MS)
        throw new Late("the request's deadline is more than a minute away from this server's time");
    if (operation.writes) return write(ask, operation);
    return (await sql.begin("isolation level repeatable read read only", (sql) => operation.run(sql, ask))) as Answer;
}

async function capabilities(): Promise<Answer> {
    return { protocol: PROTOCOL, authentication: authentication.names, leases: true, maxBodyBytes: BODY_BYTES, now: await now() };
}

function send(response: ServerResponse, status: number, type?: string, body: string | Uint8Array = ""): void {
    response.writeHead(status, type ? { "content-type": type, "content-length": Buffer.byteLength(body) } : {}).end(body);
}

function problem(
    response: ServerResponse,
    status: number,
    members: { title: string; detail: string } & Record<string, string | number>,
): void {
    send(response, status, "application/problem+json", JSON.stringify({ status, ...members }));
}

async function refuse(response: ServerResponse, error: unknown): Promise<void> {
    if (!(error instanceof Error)) throw error;
    const detail = error.message;
    if (error instanceof Unknown) return problem(response, 401, { title: "Unauthorized", detail });
    if (error instanceof Late) return problem(response, 503, { title: "Late", code: "unavailable", detail, now: await now() });
    if (error instanceof Refused)
        return problem(response, statuses[error.code], { title: error.code, code: error.code, detail, ...error.numbers });
    const isNone =
        error instanceof SyntaxError ||
        error instanceof URIError ||
        (error instanceof postgres.PostgresError && error.code === NO_SUCH_TEXT);
    if (isNone) return problem(response, 400, { title: "invalid", code: "invalid", detail });
    console.error(error);
    // Whether what was asked for was done is not known. To ask once more is always safe.
    problem(response, 503, { title: "unavailable", code: "unavailable", detail: "the database failed" });
}

async function receive(request: IncomingMessage): Promise<Buffer | undefined> {
    const parts: Buffer[] = [];
    let length = 0;
    for await (const part of request as AsyncIterable<Buffer>) {
        length += part.length;
        if (length > BODY_BYTES) return undefined;
        parts.push(part);
    }
    return Buffer.concat(parts);
}

async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { method = "", url = "", headers } = request;
    const body = await receive(request);
    if (!body) return problem(response, 413, { title: "Content Too Large", detail: `a body has ${BODY_BYTES} bytes at most` });
    const found = method === "GET" && url === "/" ? await capabilities() : await perform(new Ask(method, url, headers, body));
    if (found === undefined) return send(response, 204);
    if (found instanceof Uint8Array) return send(response, 200, "application/octet-stream", found);
    send(response, 200, "application/json", JSON.stringify(found));
}

await sql.begin(async (sql) => {
    // Servers that start at once make the tables one after the other.
    await sql`SELECT pg_advisory_xact_lock(418430873205)`;
    await sql.unsafe(readFileSync(new URL("../schema.sql", import.meta.url), "utf8"));
});
setInterval(() => {
    // Hosts try again for seconds.
    const forget = Promise.all([
        sql`DELETE FROM answers WHERE at < clock_timestamp() - INTERVAL '1 hour'`,
        sql`DELETE FROM pieces WHERE at < clock_timestamp() - INTERVAL '1 hour'`,
    ]);
    forget.catch((error: unknown) => console.error("failed to forget old answers:", error));
}, 60_000);

const server = createServer((request, response) => {
    answer(request, response)
        .catch((error: unknown) => refuse(response, error))
        .catch((error: unknown) => {
            console.error(error);
            response.destroy();
        });
});
// Hosts keep idle connections for half a minute. A server that closes them sooner makes them try again.
server.keepAliveTimeout = 75_000;
const [host, port] = [process.env.STORE_HOST ?? "127.0.0.1", Number(process.env.STORE_PORT ?? 8080)];
server.listen(port, host, () => console.log(`listening on http://${host}:${port}`));
