/**
 * What a hook may do to sessions.
 *
 * A call waits for the host, and counts as the hook's own time. What is `unavailable` is worth another try: an event
 * comes again when `onEvents` throws.
 */

import * as generated from "agent-host:hooks/session-control@0.1.0";

import type { ContractError, SessionControl } from "./contract.js";
import { HookError } from "./error.js";
import { fromJson, type Json, toJson } from "./json.js";

const host = generated as unknown as SessionControl;

/** A session as it is now. Times are Unix milliseconds. */
export interface Session {
  readonly id: string;
  readonly createdAt: number;
  readonly lastActivity: number;
  readonly profile: string;
  readonly architecture: string;
  readonly name: string | undefined;
  readonly options: Json;
  /** Usage, cost, model and the like, and what hooks have added. */
  readonly metadata: Json;
  /** Whether a turn is running. */
  readonly isRunning: boolean;
}

export const control = {
  /** A session as it is now; `not-found` if there is none. */
  getSession(session: string): Session {
    const { session: record, metadata, isRunning } = fromHost(() => host.getSession(session.toWellFormed()));
    return {
      id: record.id,
      createdAt: record.createdAt,
      lastActivity: record.lastActivity,
      profile: record.profile,
      architecture: record.architecture,
      name: record.name ?? undefined,
      options: fromJson(record.options ?? "{}"),
      metadata: fromJson(metadata),
      isRunning,
    };
  },

  /**
   * Sends a message, a text or a list of content blocks; it is stored when this returns. A message of an id that the
   * session knows is not sent again. This hook is not asked about it.
   */
  sendMessage(session: string, id: string, content: Json): void {
    fromHost(() => host.sendMessage(session.toWellFormed(), id.toWellFormed(), toJson(content)));
  },

  /** Ends the running turn; whether there was one. */
  interrupt(session: string): boolean {
    return fromHost(() => host.interrupt(session.toWellFormed()));
  },

  /** Puts a value into the session's metadata, under the hook's own name; `null` removes it. Durable when this returns. */
  setMetadata(session: string, key: string, value: Json): void {
    fromHost(() => host.setMetadata(session.toWellFormed(), key.toWellFormed(), toJson(value)));
  },

  /** Says something to the people in the conversation, as a `system` block. */
  note(session: string, text: string): void {
    fromHost(() => host.note(session.toWellFormed(), text.toWellFormed()));
  },

  /** Tells the session's subscribers an event `hook:<this hook's name>:<name>`, which is not stored. */
  emit(session: string, name: string, data: Json): void {
    fromHost(() => host.emit(session.toWellFormed(), name.toWellFormed(), toJson(data)));
  },
};

/** Calls the host. The engine throws the host's errors with a `payload`. */
function fromHost<T>(call: () => T): T {
  try {
    return call();
  } catch (thrown) {
    throw thrown instanceof Error && "payload" in thrown
      ? new HookError(thrown.payload as ContractError, { cause: thrown })
      : thrown;
  }
}
