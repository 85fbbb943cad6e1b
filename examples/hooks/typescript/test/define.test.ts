import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";

import {
  allow,
  control,
  defineHook,
  deny,
  type Event,
  type Hook,
  invalid,
  log,
  replace,
  type Verdict,
} from "../src/agent-host/index.js";
import { written } from "./host/logging.js";
import { answers, calls, reset } from "./host/session-control.js";
import { refused, use } from "./support.js";

beforeEach(() => {
  reset();
  written.length = 0;
});

function opened(hook: Omit<Hook, "name" | "version">) {
  const component = defineHook(() => ({ name: "h", version: "1", ...hook }));
  return { component, info: component.open([]) };
}

test("a hook is opened once, and before anything else", () => {
  const component = defineHook((config) => ({ name: config.get("name") ?? "", version: "1" }));
  refused(() => component.onEvents([]), "invalid", /^failed to take 0 events: .* before `open`$/);
  assert.equal(component.open([["name", "x"]]).name, "x");
  refused(() => component.open([]), "invalid", /already open/);
});

test("a hook wants what it has functions for, and nothing else", () => {
  const { component, info } = opened({});
  assert.deepEqual(info.decisions, { beforeSession: false, beforeMessage: false, beforeToolUse: false });
  assert.deepEqual([info.events, info.onFailure], [[], "allow"]);
  component.onEvents([]);
  assert.deepEqual(component.beforeToolUse(use("Bash")), { tag: "allow" });
  assert.deepEqual(opened({ beforeMessage: () => allow }).info.decisions, {
    beforeSession: false,
    beforeMessage: true,
    beforeToolUse: false,
  });
});

test("events come with what JSON says", () => {
  const seen: Event[] = [];
  const { component, info } = opened({ events: ["session:*"], onEvents: (events) => void seen.push(...events) });
  assert.deepEqual(info.events, ["session:*"]);
  component.onEvents([{ session: "s", epoch: 1, seq: 7, name: "session:status", data: '{"status":"idle"}' }]);
  assert.deepEqual(seen, [{ session: "s", epoch: 1, seq: 7, name: "session:status", data: { status: "idle" } }]);
});

test("what cannot be waited for is an error, and does not pass for done", () => {
  const { component } = opened({ events: ["*"], onEvents: async () => undefined });
  refused(() => component.onEvents([]), "other", /^failed to take 0 events: TypeError: .* cannot be `async`/);
  const decides = opened({ beforeToolUse: (async () => allow) as unknown as () => Verdict }).component;
  refused(() => decides.beforeToolUse(use("Bash")), "other", /cannot be `async`/);
});

test("names of events and what is done with them go together", () => {
  refused(() => opened({ events: ["*"] }), "invalid", /`onEvents` go together/);
  refused(() => opened({ onEvents() {} }), "invalid", /`onEvents` go together/);
});

test("drafts come with what JSON says, and what replaces them goes as JSON", () => {
  const { component } = opened({
    beforeSession: ({ name, options }) => replace({ ...options, name: name === undefined }),
    beforeMessage: ({ content }) => (content === "no" ? deny("half \ud83d of a pair") : allow),
    beforeToolUse: ({ subagent, input }) => replace([subagent === undefined, input.command]),
  });
  const draft = { profile: "p", architecture: "echo", name: null, options: '{"a":1}' };
  assert.deepEqual(component.beforeSession(draft), { tag: "replace", val: '{"a":1,"name":true}' });
  assert.deepEqual(component.beforeMessage({ session: "s", id: "m", content: '"yes"' }), { tag: "allow" });
  assert.deepEqual(component.beforeMessage({ session: "s", id: "m", content: '"no"' }), {
    tag: "deny",
    val: "half \ufffd of a pair",
  });
  assert.deepEqual(component.beforeToolUse(use("Bash", '{"command":"ls"}')), { tag: "replace", val: '[true,"ls"]' });
});

test("a verdict that is none is no trap", () => {
  for (const verdict of [undefined, null, true, { tag: "perhaps" }, { tag: "deny" }, { tag: "replace" }]) {
    const { component } = opened({ beforeToolUse: () => verdict as unknown as Verdict });
    refused(() => component.beforeToolUse(use("Bash")), "other", /^failed to decide on a use of "Bash".*TypeError/);
  }
});

test("whatever is thrown reaches the host as an error, and a bug the log, too", () => {
  const failing = (thrown: unknown) => {
    const { component } = opened({
      beforeToolUse() {
        throw thrown;
      },
    });
    return () => component.beforeToolUse(use("Bash"));
  };
  refused(failing(invalid("no")), "invalid", /^failed to decide on a use of "Bash" in session "s": no$/);
  assert.equal(written.length, 0);
  refused(failing(new RangeError("no")), "other", /: RangeError: no$/);
  assert.match(written[0]?.message ?? "", /RangeError: no\n[^]*define\.test/);
  for (const thrown of ["text", undefined, null, Symbol("s"), Object.create(null), { payload: { tag: "none" } }]) {
    refused(failing(thrown), "other", /was thrown/);
  }
});

test("what a hook does to sessions reaches the host as the contract has it", () => {
  control.sendMessage("s", "m", [{ type: "text", text: "hello" }]);
  control.setMetadata("s", "key", null);
  control.emit("s", "name", { a: 1 });
  control.note("s", "half \ud83d of a pair");
  assert.equal(control.interrupt("s"), true);
  assert.deepEqual(calls, [
    ["sendMessage", "s", "m", '[{"type":"text","text":"hello"}]'],
    ["setMetadata", "s", "key", "null"],
    ["emit", "s", "name", '{"a":1}'],
    ["note", "s", "half \ufffd of a pair"],
    ["interrupt", "s"],
  ]);
  assert.throws(() => control.emit("s", "name", undefined), TypeError);
});

test("a session is shown with what JSON says", () => {
  const { name, options, metadata, isRunning } = control.getSession("s");
  assert.deepEqual({ name, options, metadata, isRunning }, {
    name: undefined,
    options: {},
    metadata: { cost: 1 },
    isRunning: true,
  });
  answers.error = { tag: "not-found", val: "there is no session" };
  refused(() => control.getSession("s"), "not-found", /^there is no session$/);
});

test("the log takes what cannot be given to the host", () => {
  log.info("half \ud83d of a pair");
  assert.deepEqual(written, [{ level: "info", message: "half \ufffd of a pair" }]);
});
