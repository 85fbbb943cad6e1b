/**
 * The SDK with a real `claude`: its session is kept in the host, and resumed from there elsewhere.
 *
 * `CLAUDE_PROGRAM` names the program; its model's API is found by the usual variables.
 */

import assert from "node:assert/strict";
import { mkdir, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";

import { getSessionMessages, listSessions, query, type SessionStore } from "@anthropic-ai/claude-agent-sdk";

import { programs } from "./support.js";

const program = process.env["CLAUDE_PROGRAM"];

interface Turn {
  prompt: string;
  work: string;
  home: string;
  resume?: string;
}

/** A turn of a process with a home directory of its own: what it said, in which session. */
async function turn(sessionStore: SessionStore, { prompt, work, home, resume }: Turn): Promise<[string, string]> {
  await mkdir(home);
  const options = {
    sessionStore,
    cwd: work,
    permissionMode: "bypassPermissions" as const,
    allowDangerouslySkipPermissions: true,
    env: { ...process.env, CLAUDE_CONFIG_DIR: home, HOME: home, IS_SANDBOX: "1" },
    ...(program === undefined ? {} : { pathToClaudeCodeExecutable: program }),
    ...(resume === undefined ? {} : { resume }),
  };
  const said: string[] = [];
  let session = "";
  for await (const message of query({ prompt, options })) {
    if (message.type === "assistant") {
      said.push(...message.message.content.flatMap((block) => (block.type === "text" ? [block.text] : [])));
    }
    if (message.type === "result") session = message.session_id;
  }
  return [said.join("\n"), session];
}

test("a session is resumed from the host", { skip: program === undefined && "CLAUDE_PROGRAM does not name a `claude`" }, async () => {
  const store = programs();
  const directory = await mkdtemp(join(tmpdir(), "session-store-"));
  try {
    const work = join(directory, "work");
    await mkdir(work);
    const [said, session] = await turn(store(), { prompt: "text said before", work, home: join(directory, "home-1") });
    assert.equal(said, "said before");
    const again = { prompt: "history", work, home: join(directory, "home-2"), resume: session };
    const [history, resumed] = await turn(store(), again);
    assert.match(history, /text said before/);
    assert.equal(resumed, session);

    const [listed, ...more] = await listSessions({ sessionStore: store(), dir: work });
    assert.deepEqual([listed?.sessionId, listed?.firstPrompt, more.length], [session, "text said before", 0]);
    const messages = await getSessionMessages(session, { sessionStore: store(), dir: work });
    assert.deepEqual(
      messages.map(({ type }) => type),
      ["user", "assistant", "user", "assistant"],
    );
    assert.equal(new Set(messages.map(({ uuid }) => uuid)).size, 4);
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
});
