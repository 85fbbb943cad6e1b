/** What the suite does not ask for: duplicates, several programs, answers that are lost. */

import assert from "node:assert/strict";
import { test } from "node:test";

import type { SessionKey, SessionStoreEntry } from "@anthropic-ai/claude-agent-sdk";

import { AgentHostSessionStore, MAX_BATCH_BYTES } from "../src/session-store.js";
import { entry, programs } from "./support.js";

const SESSION: SessionKey = { projectKey: "project", sessionId: "session" };
const SUBAGENT: SessionKey = { ...SESSION, subpath: "subagents/agent-a1" };

const entries = (...names: string[]): SessionStoreEntry[] =>
  names.map((name) => entry({ uuid: name, text: `${name} ü💡 \u2028 \ud83d` }));

test("an entry is there once, however often it is appended", async () => {
  const program = programs();
  const [first, second] = [program(), program()];
  await first.append(SESSION, entries("a", "b", "b"));
  await first.append(SESSION, entries("b", "c"));
  // One that has seen nothing of it, as after a restart of the program.
  await second.append(SESSION, entries("a", "c", "d"));
  await first.append(SESSION, entries("d", "e"));
  // In another transcript it is another entry.
  await second.append(SUBAGENT, entries("a"));
  assert.deepEqual(await first.load(SESSION), entries("a", "b", "c", "d", "e"));
  assert.deepEqual(await first.load(SUBAGENT), entries("a"));
});

test("programs that write at once lose nothing", async () => {
  const program = programs();
  const [count, turns] = [8, 12];
  const write = async (number: number): Promise<void> => {
    const store = program();
    for (let turn = 0; turn < turns; turn += 1) await store.append(SESSION, entries(`${number}-${turn}`, "of all"));
  };
  await Promise.all(Array.from({ length: count }, (_, number) => write(number)));
  const found = ((await program().load(SESSION)) ?? []).map(({ uuid }) => uuid ?? "");
  assert.equal(found.length, count * turns + 1);
  assert.equal(new Set(found).size, found.length);
  for (let number = 0; number < count; number += 1) {
    const own = found.filter((name) => name.startsWith(`${number}-`));
    assert.deepEqual(own, Array.from({ length: turns }, (_, turn) => `${number}-${turn}`));
  }
});

test("appends of one program that are not waited for keep their order", async () => {
  const store = programs()();
  const names = Array.from({ length: 20 }, (_, number) => String(number));
  await Promise.all(names.map((name) => store.append(SESSION, entries(name))));
  assert.deepEqual(await store.load(SESSION), entries(...names));
});

test("an append whose answer was lost is not repeated", async () => {
  let changes = 0;
  const forgetful: typeof fetch = async (input, init) => {
    const response = await fetch(input, init);
    if (init?.method !== "GET") {
      changes += 1;
      if (changes % 2 === 1) throw new TypeError("the answer was lost");
    }
    return response;
  };
  const store = programs()({ fetch: forgetful });
  const mode = entry({ mode: "plan" });
  for (const name of ["a", "b", "c"]) await store.append(SESSION, [...entries(name), mode]);
  assert.deepEqual(
    await store.load(SESSION),
    ["a", "b", "c"].flatMap((name) => [...entries(name), mode]),
  );
  await store.delete(SESSION);
  assert.equal(await store.load(SESSION), null);
});

test("a session that is begun anew while summaries are made is read from its beginning", async () => {
  const program = programs();
  const other = program();
  const titled = (customTitle: string): SessionStoreEntry[] => [entry({ type: "custom-title", customTitle })];
  let happens = async (): Promise<void> => undefined;
  const between: typeof fetch = async (input, init) => {
    const response = await fetch(input, init);
    if (String(input).includes("/session-store/sessions")) {
      await happens();
    }
    return response;
  };
  const store = program({ fetch: between });
  await other.append(SESSION, titled("long".repeat(100)));
  await store.listSessionSummaries("project");
  happens = async () => {
    await other.delete(SESSION);
    await other.append(SESSION, titled("short"));
  };
  const [summary] = await store.listSessionSummaries("project");
  assert.equal(summary?.data["customTitle"], "short");
});

test("large batches go in parts", async () => {
  const store = programs()();
  // The last is a line that is longer than a part by itself.
  const sizes = [...Array.from({ length: 5 }, () => Math.floor(MAX_BATCH_BYTES / 3)), MAX_BATCH_BYTES + 1];
  const large = sizes.map((size, number) => entry({ uuid: String(number), text: "x".repeat(size) }));
  await store.append(SESSION, large);
  assert.deepEqual(await store.load(SESSION), large);
});

test("a session that another program has deleted begins anew", async () => {
  const program = programs();
  const [first, second] = [program(), program()];
  await first.append(SESSION, entries("a", "b"));
  await second.delete(SESSION);
  await first.append(SESSION, entries("c"));
  assert.deepEqual(await second.load(SESSION), entries("c"));
  // And grown beyond what the first has seen, with another line where that ended.
  await second.delete(SESSION);
  await second.append(SESSION, entries("another", "and another"));
  await first.append(SESSION, entries("d", "c"));
  assert.deepEqual(await second.load(SESSION), entries("another", "and another", "d", "c"));
});

test("names are any text, and what cannot be kept is refused", async () => {
  const store = programs()();
  for (const name of ["..", "a/b", "a%2Fb", "ü💡", "a b&c=d#e", "-root-my-project"]) {
    const session = { projectKey: name, sessionId: name };
    await store.append({ ...session, subpath: name }, entries(name));
    await store.append(session, entries("main"));
    assert.deepEqual(await store.load({ ...session, subpath: name }), entries(name));
    assert.deepEqual(await store.listSubkeys(session), [name]);
    assert.deepEqual(
      (await store.listSessions(name)).map(({ sessionId }) => sessionId),
      [name],
    );
  }
  for (const name of ["", "a\0b", "x".repeat(1000)]) {
    const invalid = { name: "Error", code: "INVALID_REQUEST", status: 400 };
    await assert.rejects(store.append({ ...SESSION, sessionId: name }, entries("a")), invalid);
    await assert.rejects(store.append({ ...SESSION, subpath: name }, entries("a")), invalid);
  }
});

test("an adopted session is the host's", async () => {
  const store = programs()();
  const said = entry({ type: "user", uuid: crypto.randomUUID(), message: { role: "user", content: "hello from outside" } });
  await store.append(SESSION, [said]);
  const id = await store.adopt(SESSION);
  assert.equal(await store.adopt(SESSION), id);
  await assert.rejects(store.append(SESSION, entries("a")), { code: "SESSION_ADOPTED" });
  assert.deepEqual(await store.load(SESSION), [said]);
});

test("a host that is not there is waited for, and then told", async () => {
  const store = new AgentHostSessionStore("http://127.0.0.1:9", { patience: 500 });
  await assert.rejects(store.load(SESSION), TypeError);
});
