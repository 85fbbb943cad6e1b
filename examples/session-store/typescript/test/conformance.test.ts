/** The contracts of the SDK's suite, which is there in Python only (`claude_agent_sdk.testing`), one test for each, in its order. */

import assert from "node:assert/strict";
import { after, test } from "node:test";

import { foldSessionSummary, type SessionKey } from "@anthropic-ai/claude-agent-sdk";

import type { AgentHostSessionStore } from "../src/session-store.js";
import { entry, programs } from "./support.js";

const CONTRACTS = 14;

const KEY: SessionKey = { projectKey: "proj", sessionId: "sess" };
const agent = (number: number): SessionKey => ({ ...KEY, subpath: `subagents/agent-${number}` });

let kept = 0;

function contract(number: number, what: string, check: (store: AgentHostSessionStore) => Promise<void>): void {
  test(`${number}. ${what}`, async () => {
    await check(programs()());
    kept += 1;
  });
}

after(() => {
  assert.equal(kept, CONTRACTS, "not all contracts were kept");
});

contract(1, "append, then load gives the same entries in the same order", async (store) => {
  const entries = [entry({ uuid: "b", n: 1 }), entry({ uuid: "a", n: 2 })];
  await store.append(KEY, entries);
  assert.deepEqual(await store.load(KEY), entries);
});

contract(2, "load of an unknown key gives null", async (store) => {
  assert.equal(await store.load({ projectKey: "proj", sessionId: "nope" }), null);
  await store.append(KEY, [entry({ uuid: "x", n: 1 })]);
  assert.equal(await store.load({ ...KEY, subpath: "nope" }), null);
});

contract(3, "several appends keep the order of the calls", async (store) => {
  const [z, a, m, b] = [
    entry({ uuid: "z", n: 1 }),
    entry({ uuid: "a", n: 2 }),
    entry({ uuid: "m", n: 3 }),
    entry({ uuid: "b", n: 4 }),
  ];
  await store.append(KEY, [z]);
  await store.append(KEY, [a, m]);
  await store.append(KEY, [b]);
  assert.deepEqual(await store.load(KEY), [z, a, m, b]);
});

contract(4, "append of nothing does nothing", async (store) => {
  const entries = [entry({ uuid: "a", n: 1 })];
  await store.append(KEY, entries);
  await store.append(KEY, []);
  assert.deepEqual(await store.load(KEY), entries);
});

contract(5, "subpaths are kept apart from the main transcript", async (store) => {
  const [main, sub] = [[entry({ uuid: "m", n: 1 })], [entry({ uuid: "s", n: 1 })]];
  await store.append(KEY, main);
  await store.append(agent(1), sub);
  assert.deepEqual(await store.load(KEY), main);
  assert.deepEqual(await store.load(agent(1)), sub);
});

contract(6, "projects are kept apart", async (store) => {
  const of = (projectKey: string): SessionKey => ({ projectKey, sessionId: "s1" });
  await store.append(of("A"), [entry({ from: "A" })]);
  await store.append(of("B"), [entry({ from: "B" })]);
  assert.deepEqual(await store.load(of("A")), [entry({ from: "A" })]);
  assert.deepEqual(await store.load(of("B")), [entry({ from: "B" })]);
  assert.equal((await store.listSessions("A")).length, 1);
  assert.equal((await store.listSessions("B")).length, 1);
});

contract(7, "listSessions gives the sessions of the project", async (store) => {
  await store.append({ projectKey: "proj", sessionId: "a" }, [entry({ n: 1 })]);
  await store.append({ projectKey: "proj", sessionId: "b" }, [entry({ n: 1 })]);
  await store.append({ projectKey: "other", sessionId: "c" }, [entry({ n: 1 })]);
  const sessions = await store.listSessions("proj");
  assert.deepEqual(sessions.map(({ sessionId }) => sessionId).sort(), ["a", "b"]);
  // Milliseconds: in seconds it would be less.
  assert.ok(sessions.every(({ mtime }) => Number.isFinite(mtime) && mtime > 1e12));
  assert.deepEqual(await store.listSessions("never-appended-project"), []);
});

contract(8, "listSessions leaves subagents out", async (store) => {
  const main = { projectKey: "proj", sessionId: "main" };
  await store.append(main, [entry({ n: 1 })]);
  await store.append({ ...main, subpath: "subagents/agent-1" }, [entry({ n: 1 })]);
  assert.deepEqual(
    (await store.listSessions("proj")).map(({ sessionId }) => sessionId),
    ["main"],
  );
});

contract(9, "delete of a main transcript, then load gives null", async (store) => {
  await store.delete({ projectKey: "proj", sessionId: "never-written" });
  await store.append(KEY, [entry({ n: 1 })]);
  await store.delete(KEY);
  assert.equal(await store.load(KEY), null);
});

contract(10, "delete of a main transcript deletes those beside it", async (store) => {
  const other = { projectKey: "proj", sessionId: "sess2" };
  const otherProject = { projectKey: "other-proj", sessionId: KEY.sessionId };
  for (const key of [KEY, agent(1), agent(2), other, otherProject]) await store.append(key, [entry({ n: 1 })]);
  await store.delete(KEY);
  for (const key of [KEY, agent(1), agent(2)]) assert.equal(await store.load(key), null);
  for (const key of [other, otherProject]) assert.equal((await store.load(key))?.length, 1);
  assert.deepEqual(await store.listSubkeys(KEY), []);
  assert.ok((await store.listSessions(KEY.projectKey)).every(({ sessionId }) => sessionId !== KEY.sessionId));
});

contract(11, "delete of a subpath deletes that one", async (store) => {
  for (const key of [KEY, agent(1), agent(2)]) await store.append(key, [entry({ n: 1 })]);
  await store.delete(agent(1));
  assert.equal(await store.load(agent(1)), null);
  for (const key of [agent(2), KEY]) assert.equal((await store.load(key))?.length, 1);
  assert.deepEqual(await store.listSubkeys(KEY), ["subagents/agent-2"]);
});

contract(12, "listSubkeys gives the subpaths", async (store) => {
  for (const key of [KEY, agent(1), agent(2)]) await store.append(key, [entry({ n: 1 })]);
  await store.append({ ...KEY, sessionId: "other-sess", subpath: "subagents/agent-x" }, [entry({ n: 1 })]);
  assert.deepEqual((await store.listSubkeys(KEY)).sort(), ["subagents/agent-1", "subagents/agent-2"]);
});

contract(13, "listSubkeys leaves the main transcript out", async (store) => {
  await store.append(KEY, [entry({ n: 1 })]);
  assert.deepEqual(await store.listSubkeys(KEY), []);
  assert.deepEqual(await store.listSubkeys({ projectKey: "proj", sessionId: "never-appended" }), []);
});

contract(14, "listSessionSummaries gives what the SDK's fold made and can go on with", async (store) => {
  const key = { projectKey: "proj", sessionId: "summ-sess" };
  const at = (second: number, members = {}) => entry({ timestamp: `2024-01-01T00:00:0${second}.000Z`, ...members });
  await store.append(key, [at(0, { customTitle: "first" }), at(1)]);
  await store.append(key, [at(2, { customTitle: "second" })]);
  await store.append({ projectKey: "other", sessionId: "elsewhere" }, [at(0)]);
  const [summary, ...more] = await store.listSessionSummaries("proj");
  assert.ok(summary !== undefined && more.length === 0);
  assert.equal(summary.sessionId, "summ-sess");
  assert.ok(Number.isFinite(summary.mtime) && summary.mtime > 1e12);
  // One clock with that of the list.
  const [listed] = await store.listSessions("proj");
  assert.ok(listed !== undefined && summary.mtime >= listed.mtime);
  assert.equal(typeof summary.data, "object");
  assert.equal(summary.data["customTitle"], "second");
  const folded = foldSessionSummary(summary, key, [at(3)]);
  assert.deepEqual([folded.sessionId, folded.mtime], ["summ-sess", summary.mtime]);
  await store.append({ ...key, subpath: "subagents/agent-1" }, [at(9, { customTitle: "subagent" })]);
  assert.deepEqual((await store.listSessionSummaries("proj"))[0]?.data, summary.data);
  assert.deepEqual(await store.listSessionSummaries("never-appended-project"), []);
  await store.delete(key);
  assert.deepEqual(await store.listSessionSummaries("proj"), []);
});
