/** Who asks. Comparisons take the same time whatever is shown. */

import { createHash, createHmac, timingSafeEqual } from "node:crypto";

import type { Ask } from "./protocol.js";

export const PROTOCOL = "agent-host-store/1";

/** The credentials are not those of a host. */
export class Unknown extends Error {}

const sha256 = (data: string | Buffer) => createHash("sha256").update(data).digest();

export class Authentication {
    readonly names: string[];

    constructor(
        private readonly bearer: string | undefined,
        private readonly secret: string | undefined,
    ) {
        if (!bearer && !secret) {
            throw new Error("set STORE_BEARER to a token or STORE_HMAC to a secret, or both: without, everybody could read all sessions");
        }
        this.names = [...(bearer ? ["bearer"] : []), ...(secret ? ["hmac"] : [])];
    }

    check(ask: Ask): void {
        const [scheme, shown = ""] = (ask.headers.authorization ?? "").split(" ", 2);
        const expected = scheme === "Bearer" ? this.bearer : scheme === "HMAC-SHA256" ? this.signature(ask) : undefined;
        if (!expected) throw new Unknown(`the request has no authorization of these: ${this.names.join(", ")}`);
        // Digests, since only what is of the same length can be compared like that.
        if (!timingSafeEqual(sha256(expected), sha256(shown))) throw new Unknown("the token or the signature is not the right one");
    }

    private signature(ask: Ask): string | undefined {
        const headers = ["request-deadline", "session-epoch", "idempotency-key"].map((name) => ask.headers[name] ?? "");
        const text = [PROTOCOL, ask.method, ask.target, ...headers, sha256(ask.body).toString("hex")].join("\n");
        return this.secret && createHmac("sha256", this.secret).update(text).digest("hex");
    }
}
