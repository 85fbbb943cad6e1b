/** A request of the protocol, and what it may be answered: whatever is missing or is none is refused. */

import { createHash } from "node:crypto";
import type { IncomingHttpHeaders } from "node:http";
import type { TransactionSql } from "postgres";

import { number, type Check } from "./checks.js";

/** A transaction. Numbers are below 2^53, as the contract has it. */
export type Sql = TransactionSql<{ bigint: number }>;

/** Nothing, bytes, or what is sent as JSON. */
export type Answer = undefined | Uint8Array | object;

export interface Operation {
    run: (sql: Sql, ask: Ask) => Promise<Answer | void>;
    writes: boolean;
    /** Whether a repetition is given the same answer. If not, it is simply done again, which changes nothing. */
    remembered: boolean;
}

/** By method and path. */
export const operations = new Map<string, Operation>();

export const reads = (name: string, run: Operation["run"]) => operations.set(name, { run, writes: false, remembered: false });
export const writes = (name: string, run: Operation["run"]) => operations.set(name, { run, writes: true, remembered: true });
export const repeats = (name: string, run: Operation["run"]) => operations.set(name, { run, writes: true, remembered: false });

export const statuses = {
    "not-found": 404,
    "already-exists": 409,
    "stale-epoch": 409,
    "offset-mismatch": 409,
    invalid: 400,
    unavailable: 409,
};

/** A refusal in the contract's words, with the number that belongs to it. */
export class Refused extends Error {
    constructor(
        readonly code: keyof typeof statuses,
        detail: string,
        readonly numbers: Record<string, number> = {},
    ) {
        super(detail);
    }
}

export class Ask {
    readonly path: string;
    readonly query: Map<string, string>;

    constructor(
        readonly method: string,
        readonly target: string,
        readonly headers: IncomingHttpHeaders,
        readonly body: Buffer,
    ) {
        const [path, query] = target.split("?", 2);
        const pairs = query ? query.split("&").map((pair) => pair.split("=", 2).map(decodeURIComponent)) : [];
        this.path = path ?? "";
        this.query = new Map(pairs.map(([name, value]) => [name ?? "", value ?? ""]));
    }

    /** A parameter. */
    text(name: string): string {
        const value = this.query.get(name);
        if (value === undefined) throw new Refused("invalid", `the parameter ${name} is missing`);
        return value;
    }

    number(name: string, most?: number): number {
        return integer(this.text(name), name, most);
    }

    header(name: string): string {
        const value = this.headers[name];
        if (typeof value !== "string") throw new Refused("invalid", `the header ${name} is missing`);
        return value;
    }

    get epoch(): number {
        return integer(this.header("session-epoch"), "session-epoch");
    }

    get deadline(): number {
        return integer(this.header("request-deadline"), "request-deadline");
    }

    json<T>(check: Check<T>): T {
        return check(JSON.parse(this.body.toString()), "the body");
    }

    /** Of all that is asked for, so that no key is taken for that of another write. */
    digest(): string {
        return createHash("sha256")
            .update(`${this.method} ${this.target} ${this.headers["session-epoch"]} `)
            .update(this.body)
            .digest("hex");
    }
}

function integer(text: string, name: string, most?: number): number {
    return number(0, most)(/^\d{1,16}$/.test(text) ? Number(text) : text, name);
}
