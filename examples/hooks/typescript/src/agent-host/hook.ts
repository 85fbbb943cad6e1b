/** What a hook is to this library: what it is told, and what it decides. */

import type { Json } from "./json.js";

/** Something that happened to a session: an event of the WebSocket. */
export interface Event {
  readonly session: string;
  /** Grows whenever a host takes the session over. */
  readonly epoch: number;
  /** With session and epoch it names the event: one that comes again is a repeat. */
  readonly seq: number;
  /** Such as `session:block:complete`. */
  readonly name: string;
  readonly data: Json;
}

/** A session that is about to be created. */
export interface SessionDraft {
  readonly profile: string;
  readonly architecture: string;
  readonly name: string | undefined;
  readonly options: Json;
}

/** A message that is about to be accepted. */
export interface MessageDraft {
  readonly session: string;
  readonly id: string;
  /** As clients give it: a text, or a list of content blocks. */
  readonly content: Json;
}

/** A tool that the agent is about to use. */
export interface ToolDraft {
  readonly session: string;
  /** `undefined` in the main conversation. */
  readonly subagent: string | undefined;
  readonly toolUseId: string;
  readonly tool: string;
  readonly input: Json;
}

export type Verdict =
  | { readonly tag: "allow" }
  | { readonly tag: "replace"; readonly val: Json }
  | { readonly tag: "deny"; readonly val: string };

/** It happens as it is. */
export const allow: Verdict = { tag: "allow" };

/** It happens with this: other options, another content, another input of the tool. */
export const replace = (value: Json): Verdict => ({ tag: "replace", val: value });

/** It does not happen. The text is shown to whoever asked: the client, or the agent. */
export const deny = (reason: string): Verdict => ({ tag: "deny", val: reason });

/**
 * Is told of what happens to sessions, and decides before it happens. It has the functions that it wants, and is asked
 * about nothing else. There is one in each instance, and it gets one call at a time:
 *
 * - Events come at least once, those of a session in order.
 * - A question has a deadline of a few seconds. A hook that misses it or throws leaves the decision to
 *   `deniesOnFailure`.
 * - Events and questions go to different instances, so that neither waits for the other: what they share is kept in the
 *   session's metadata (`control.setMetadata`), and not in variables.
 */
export interface Hook {
  readonly name: string;
  readonly version: string;
  /** Whether what it fails to decide on does not happen. */
  readonly deniesOnFailure?: boolean;
  /** What `onEvents` is told of, such as `session:block:complete`; `*` at the end stands for any rest. */
  readonly events?: readonly string[];
  /** These happened. After an exception the same come again. */
  onEvents?(events: Event[]): void;
  /** A session is about to be created. `replace` has other options. */
  beforeSession?(draft: SessionDraft): Verdict;
  /** A message is about to be accepted. `replace` has another content. */
  beforeMessage?(draft: MessageDraft): Verdict;
  /** The agent is about to use a tool. `replace` has another input. */
  beforeToolUse?(draft: ToolDraft): Verdict;
}
