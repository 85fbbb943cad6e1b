/**
 * Sessions of the Claude Agent SDK in the store of an Agent Host.
 *
 * Pass an `AgentHostSessionStore` as `sessionStore` to `query`: the transcripts of your program's sessions are then kept by
 * whatever persistence adapter the host runs, and any machine can resume them.
 *
 * An append says where the transcript is expected to end. The host refuses one that is out of date, and the store then reads
 * what it has missed before it tries again. So no entry is lost, however many programs write to a session, and one with a
 * `uuid` that the transcript has already is not added twice.
 */

import {
  foldSessionSummary,
  type SessionKey,
  type SessionStore,
  type SessionStoreEntry,
  type SessionSummaryEntry,
} from "@anthropic-ai/claude-agent-sdk";

/** Lines that are sent together, in bytes. The host takes 16 MiB; a line is sent as long as it is. */
export const MAX_BATCH_BYTES = 4 * 1024 * 1024;

/** Summaries that are brought up to date at once. */
const CONCURRENT_SUMMARIES = 8;

/** The first and the longest pause, in milliseconds, before a host that is away or busy is asked again. */
const PAUSE = { first: 200, longest: 5_000 };

/** The longest wait for an answer, in milliseconds. The host tries its own store for up to 30 seconds. */
const ANSWER_TIMEOUT = 40_000;

const NEWLINE = 0x0a;

/** The host refused a call. `code` says why to programs, the message to people. */
export class AgentHostError extends Error {
  readonly status: number;
  readonly code: string;
  readonly length: number | undefined;

  constructor(status: number, problem: Record<string, unknown>) {
    const code = typeof problem["code"] === "string" ? problem["code"] : "UNKNOWN";
    super(`${code}: ${String(problem["detail"] ?? `the host answered ${status}`)}`);
    this.status = status;
    this.code = code;
    this.length = typeof problem["length"] === "number" ? problem["length"] : undefined;
  }
}

export interface AgentHostOptions {
  /** One of the host's `auth.api_keys`. */
  apiKey?: string;
  /** Put before each project key: a tenant, where several share the host. */
  namespace?: string;
  /** The profile under which the host runs a session if it adopts it. */
  agentProfile?: string;
  /** For how many milliseconds a host that is away or busy is asked again. The SDK gives up on an append after 60,000. */
  patience?: number;
  /** Used instead of the global `fetch`. */
  fetch?: typeof fetch;
}

/** A session as the host lists it. */
interface Listed {
  sessionId: string;
  createdAt: number;
  modifiedAt: number;
}

interface Page {
  sessions: Listed[];
  nextCursor?: string;
}

/** A session with its transcripts, of which the main one has no `subpath`. */
interface Found {
  session: { hostSessionId: string };
  transcripts: Array<{ subpath?: string }>;
}

/** An entry as it is written. */
interface Line {
  uuid: string | undefined;
  bytes: Uint8Array;
}

/** What is known of a transcript: how long it was when it was last seen, and what was in it. */
class Transcript {
  length = 0;
  uuids = new Set<string>();
  /** Ends when whoever uses the transcript has done so. */
  #last: Promise<unknown> = Promise.resolve();

  /** Does the work when all that was asked for before is done. */
  exclusively<T>(work: () => Promise<T>): Promise<T> {
    const done = this.#last.then(work, work);
    this.#last = done.catch(() => undefined);
    return done;
  }

  forget(): void {
    this.length = 0;
    this.uuids = new Set();
  }

  hasSeen(uuids: Iterable<string | undefined>, length: number): void {
    for (const uuid of uuids) {
      if (uuid !== undefined) this.uuids.add(uuid);
    }
    this.length += length;
  }

  /** The first lines that are not there yet, and all that come behind those. */
  split(lines: Line[]): { batch: Line[]; rest: Line[] } {
    const batch: Line[] = [];
    const seen = new Set<string>();
    let size = 0;
    for (const [index, line] of lines.entries()) {
      if (line.uuid !== undefined && (seen.has(line.uuid) || this.uuids.has(line.uuid))) continue;
      if (batch.length > 0 && size + line.bytes.length > MAX_BATCH_BYTES) return { batch, rest: lines.slice(index) };
      batch.push(line);
      size += line.bytes.length;
      if (line.uuid !== undefined) seen.add(line.uuid);
    }
    return { batch, rest: [] };
  }
}

/** The summary of a transcript up to a byte. It belongs to the session that was created then. */
interface Folded {
  createdAt: number;
  length: number;
  summary: SessionSummaryEntry | undefined;
}

/** Keeps sessions in the store of the host at `url`. */
export class AgentHostSessionStore implements SessionStore {
  readonly #url: string;
  readonly #headers: Record<string, string>;
  readonly #namespace: string;
  readonly #agentProfile: string | undefined;
  readonly #patience: number;
  readonly #fetch: typeof fetch;
  readonly #transcripts = new Map<string, Transcript>();
  readonly #folded = new Map<string, Folded>();

  constructor(url: string, options: AgentHostOptions = {}) {
    this.#url = url.replace(/\/+$/, "");
    this.#headers = options.apiKey ? { authorization: `Bearer ${options.apiKey}` } : {};
    this.#namespace = options.namespace ?? "";
    this.#agentProfile = options.agentProfile;
    this.#patience = options.patience ?? 30_000;
    this.#fetch = options.fetch ?? fetch;
  }

  async append(key: SessionKey, entries: SessionStoreEntry[]): Promise<void> {
    const transcript = this.#transcript(key);
    // The SDK appends one after the other; whoever else shares the store does not have to.
    await transcript.exclusively(async () => {
      let lines = entries.map(line);
      for (;;) {
        // If it was not added, what is there already may be other lines than it seemed.
        const { batch, rest } = transcript.split(lines);
        if (batch.length === 0) return;
        if (await this.#append(key, transcript, batch)) lines = rest;
      }
    });
  }

  /** Whether the batch was added. If not, what others have added was read. */
  async #append(key: SessionKey, transcript: Transcript, batch: Line[]): Promise<boolean> {
    const body = concatenated(batch.map(({ bytes }) => bytes));
    const query = { ...this.#query(key), offset: String(transcript.length) };
    const profile = this.#agentProfile === undefined ? {} : { agentProfileRef: this.#agentProfile };
    try {
      await this.#call("POST", "/session-store/transcript", { ...query, ...profile }, body);
    } catch (error) {
      if (!isRefused(error, "OFFSET_MISMATCH")) throw error;
      // It was deleted and begun anew.
      if (error.length !== undefined && error.length <= transcript.length) transcript.forget();
      await this.#catchUp(key, transcript);
      return false;
    }
    // Others may have added something behind it meanwhile, which is read when it is in the way.
    transcript.hasSeen(
      batch.map(({ uuid }) => uuid),
      body.length,
    );
    return true;
  }

  async #catchUp(key: SessionKey, transcript: Transcript): Promise<void> {
    let { offset, data } = await this.#readOn(key, transcript.length);
    if (offset < transcript.length) transcript.forget();
    let entries: SessionStoreEntry[];
    try {
      entries = parsed(data);
    } catch {
      // Not where a line begins: it is another transcript than the one that was seen.
      transcript.forget();
      data = await this.#read(key, 0);
      entries = parsed(data);
    }
    if (data === null) transcript.forget();
    else transcript.hasSeen(entries.map(uuidOf), data.length);
  }

  async load(key: SessionKey): Promise<SessionStoreEntry[] | null> {
    const transcript = this.#transcript(key);
    return transcript.exclusively(async () => {
      const data = await this.#read(key, 0);
      transcript.forget();
      if (data === null) return null;
      const entries = parsed(data);
      transcript.hasSeen(entries.map(uuidOf), data.length);
      return entries;
    });
  }

  async listSessions(projectKey: string): Promise<Array<{ sessionId: string; mtime: number }>> {
    const sessions = await this.#sessions(projectKey);
    return sessions.map(({ sessionId, modifiedAt }) => ({ sessionId, mtime: modifiedAt }));
  }

  /** Folds what was added since the last call. The first one reads the transcripts. */
  async listSessionSummaries(projectKey: string): Promise<SessionSummaryEntry[]> {
    const sessions = (await this.#sessions(projectKey)).values();
    const summaries: SessionSummaryEntry[] = [];
    const worker = async (): Promise<void> => {
      // All workers take from the same iterator.
      for (const session of sessions) {
        const summary = await this.#summary(projectKey, session);
        if (summary !== undefined) summaries.push(summary);
      }
    };
    await Promise.all(Array.from({ length: CONCURRENT_SUMMARIES }, worker));
    return summaries;
  }

  async #summary(projectKey: string, session: Listed): Promise<SessionSummaryEntry | undefined> {
    const key: SessionKey = { projectKey, sessionId: session.sessionId };
    const name = nameOf(key);
    const found = this.#folded.get(name);
    const seen = found?.createdAt === session.createdAt ? found : undefined;
    const { offset, data } = await this.#readOn(key, seen?.length ?? 0);
    const known = offset === 0 ? undefined : seen;
    if (data === null) {
      this.#folded.delete(name);
      return undefined;
    }
    // The time of the list is that of all that was there then, which was read after.
    const summary = foldSessionSummary(known?.summary, key, parsed(data), { mtime: session.modifiedAt });
    this.#folded.set(name, { createdAt: session.createdAt, length: offset + data.length, summary });
    return summary;
  }

  async delete(key: SessionKey): Promise<void> {
    await this.#call("DELETE", "/session-store/transcript", this.#query(key));
    if (key.subpath !== undefined) {
      this.#transcripts.delete(nameOf(key));
      return;
    }
    const session = JSON.stringify([key.projectKey, key.sessionId]).slice(0, -1);
    for (const name of this.#transcripts.keys()) {
      if (name.startsWith(`${session},`) || name === `${session}]`) this.#transcripts.delete(name);
    }
  }

  async listSubkeys(key: { projectKey: string; sessionId: string }): Promise<string[]> {
    try {
      const { transcripts } = json<Found>(await this.#call("GET", "/session-store/transcripts", this.#query(key)));
      return transcripts.flatMap(({ subpath }) => (subpath === undefined ? [] : [subpath]));
    } catch (error) {
      if (isRefused(error, "SESSION_NOT_FOUND")) return [];
      throw error;
    }
  }

  /**
   * Has the host run the session from now on, and gives its id in the host. What is appended after that is refused
   * (`SESSION_ADOPTED`); it can still be loaded.
   */
  async adopt(key: { projectKey: string; sessionId: string }): Promise<string> {
    const query = this.#query({ projectKey: key.projectKey, sessionId: key.sessionId });
    const { session } = json<Found>(await this.#call("GET", "/session-store/transcripts", query));
    await this.#call("POST", `/sessions/${session.hostSessionId}/adopt`, {});
    return session.hostSessionId;
  }

  #transcript(key: SessionKey): Transcript {
    const name = nameOf(key);
    const known = this.#transcripts.get(name) ?? new Transcript();
    this.#transcripts.set(name, known);
    return known;
  }

  #query({ projectKey, sessionId, subpath }: SessionKey): Record<string, string> {
    const query = { projectKey: this.#namespace + projectKey, sessionId };
    return subpath === undefined ? query : { ...query, subpath };
  }

  async #read(key: SessionKey, offset: number): Promise<Uint8Array | null> {
    try {
      const query = { ...this.#query(key), offset: String(offset) };
      return await this.#call("GET", "/session-store/transcript", query);
    } catch (error) {
      if (isRefused(error, "SESSION_NOT_FOUND", "TRANSCRIPT_NOT_FOUND")) return null;
      throw error;
    }
  }

  /** What is there from `offset` on, and where that begins: at 0 if the transcript ends before, since it was deleted and begun anew. */
  async #readOn(key: SessionKey, offset: number): Promise<{ offset: number; data: Uint8Array | null }> {
    try {
      return { offset, data: await this.#read(key, offset) };
    } catch (error) {
      if (!isRefused(error, "OFFSET_MISMATCH")) throw error;
      return { offset: 0, data: await this.#read(key, 0) };
    }
  }

  async #sessions(projectKey: string): Promise<Listed[]> {
    const sessions: Listed[] = [];
    let cursor: string | undefined;
    do {
      const query = { projectKey: this.#namespace + projectKey, ...(cursor === undefined ? {} : { cursor }) };
      const page = json<Page>(await this.#call("GET", "/session-store/sessions", query));
      sessions.push(...page.sessions);
      cursor = page.nextCursor;
    } while (cursor !== undefined);
    return sessions;
  }

  /** Asks the host, again while it is away or busy: each of these calls may be repeated. */
  async #call(method: string, path: string, query: Record<string, string>, body?: Uint8Array<ArrayBuffer>): Promise<Uint8Array> {
    const url = `${this.#url}${path}?${new URLSearchParams(query).toString()}`;
    const giveUpAt = performance.now() + this.#patience;
    let pause = PAUSE.first;
    for (;;) {
      let failure: unknown;
      try {
        const signal = AbortSignal.timeout(ANSWER_TIMEOUT);
        const response = await this.#fetch(url, { method, body: body ?? null, headers: this.#headers, signal });
        const answer = new Uint8Array(await response.arrayBuffer());
        if (response.ok) return answer;
        failure = new AgentHostError(response.status, problem(answer));
        if (response.status !== 429 && response.status !== 503) throw failure;
      } catch (error) {
        if (error === failure) throw error;
        failure = error;
      }
      if (performance.now() + pause > giveUpAt) throw failure;
      await new Promise((resolve) => setTimeout(resolve, pause));
      pause = Math.min(pause * 2, PAUSE.longest);
    }
  }
}

function nameOf({ projectKey, sessionId, subpath }: SessionKey): string {
  return JSON.stringify(subpath === undefined ? [projectKey, sessionId] : [projectKey, sessionId, subpath]);
}

function uuidOf(entry: SessionStoreEntry): string | undefined {
  return entry.uuid === "" ? undefined : entry.uuid;
}

function line(entry: SessionStoreEntry): Line {
  return { uuid: uuidOf(entry), bytes: new TextEncoder().encode(`${JSON.stringify(entry)}\n`) };
}

function concatenated(parts: Uint8Array[]): Uint8Array<ArrayBuffer> {
  const whole = new Uint8Array(parts.reduce((length, part) => length + part.length, 0));
  let offset = 0;
  for (const part of parts) {
    whole.set(part, offset);
    offset += part.length;
  }
  return whole;
}

/** The entries of a transcript, parsed line by line: all of it may be longer than a string can be. */
function parsed(data: Uint8Array | null): SessionStoreEntry[] {
  const entries: SessionStoreEntry[] = [];
  const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
  let start = 0;
  while (data !== null && start < data.length) {
    const newline = data.indexOf(NEWLINE, start);
    const end = newline === -1 ? data.length : newline;
    entries.push(JSON.parse(decoder.decode(data.subarray(start, end))) as SessionStoreEntry);
    start = end + 1;
  }
  return entries;
}

function isRefused(error: unknown, ...codes: string[]): error is AgentHostError {
  return error instanceof AgentHostError && codes.includes(error.code);
}

function json<T>(data: Uint8Array): T {
  return JSON.parse(new TextDecoder().decode(data)) as T;
}

function problem(data: Uint8Array): Record<string, unknown> {
  try {
    const problem = json<unknown>(data);
    return typeof problem === "object" && problem !== null ? (problem as Record<string, unknown>) : {};
  } catch {
    // Something between here and the host has answered.
    return {};
  }
}
