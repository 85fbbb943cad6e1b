/** The hook itself. A module is one instance, so each test has a copy of what it is made by. */

import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";

import { blocklist } from "../src/hook.js";
import { defineHook } from "../src/agent-host/index.js";
import { written } from "./host/logging.js";
import { answers, calls, reset } from "./host/session-control.js";
import { refused, use } from "./support.js";

beforeEach(() => {
  reset();
  written.length = 0;
});

function opened(tools: string) {
  const hook = defineHook(blocklist);
  hook.open([["tools", tools]]);
  return hook;
}

test("it decides on tools, and what it cannot decide on does not happen", () => {
  const info = defineHook(blocklist).open([["tools", "Bash"]]);
  assert.deepEqual(info.decisions, { beforeSession: false, beforeMessage: false, beforeToolUse: true });
  assert.deepEqual([info.events, info.onFailure], [[], "deny"]);
});

test("its configuration names tools, and nothing else", () => {
  refused(() => defineHook(blocklist).open([]), "invalid", /"tools" is missing/);
  for (const empty of ["", "Bash,,Read"]) {
    refused(() => opened(empty), "invalid", /"tools" has an empty name/);
  }
  refused(
    () => defineHook(blocklist).open([["tool", "Bash"]]),
    "invalid",
    /unknown configuration key "tool"; known are: tools/,
  );
});

test("a tool that is named is denied, and the conversation and the log say so", () => {
  const hook = opened("WebFetch, Bash");
  assert.deepEqual(hook.beforeToolUse(use("Bash")), { tag: "deny", val: "Bash is not allowed here" });
  assert.deepEqual(calls, [["note", "s", "The agent wanted to use Bash, which is not allowed here."]]);
  assert.deepEqual(written, [{ level: "info", message: "Bash was denied in session s" }]);
});

test("any other tool is allowed, and nothing is said", () => {
  assert.deepEqual(opened("WebFetch, Bash").beforeToolUse(use("Read")), { tag: "allow" });
  assert.deepEqual(calls, []);
});

test("what cannot be said is an error, on which the tool is denied", () => {
  const hook = opened("Bash");
  answers.error = { tag: "unavailable", val: "busy" };
  refused(() => hook.beforeToolUse(use("Bash")), "unavailable", /^failed to decide on a use of "Bash" .*: busy$/);
});
