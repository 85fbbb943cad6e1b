import assert from "node:assert/strict";
import { test } from "node:test";

import {
  AdapterError,
  invalid,
  noSuchSession,
  offsetMismatch,
  other,
  staleEpoch,
  toAdapterError,
  whileTrying,
} from "../src/agent-host/index.js";

test("the engine finds the variant in an own property", () => {
  const error = invalid("no");
  assert.ok(error instanceof Error);
  assert.ok(Object.hasOwn(error, "payload"));
  assert.deepEqual(error.payload, { tag: "invalid", val: "no" });
  assert.equal(error.message, "invalid: no");
  assert.deepEqual(staleEpoch(7).payload, { tag: "stale-epoch", val: 7 });
});

test("whatever is thrown becomes an error of the contract", () => {
  const foreseen = noSuchSession("a");
  assert.equal(toAdapterError(foreseen), foreseen);
  const cases: [thrown: unknown, text: string][] = [
    [new Error("no"), "Error: no"],
    [new TypeError("not a function"), "TypeError: not a function"],
    ["text", "text was thrown"],
    [undefined, "undefined was thrown"],
    [Object.create(null), "something was thrown that cannot be written as text"],
    [Symbol("s"), "Symbol(s) was thrown"],
  ];
  for (const [thrown, text] of cases) {
    assert.deepEqual(toAdapterError(thrown).payload, { tag: "other", val: text });
    assert.equal(toAdapterError(thrown).cause, thrown);
  }
});

test("an error that says only why is told what was being done", () => {
  assert.deepEqual(whileTrying("load it", other("no")).payload, { tag: "other", val: "failed to load it: no" });
  assert.deepEqual(whileTrying("load it", new Error("no")).payload, {
    tag: "other",
    val: "failed to load it: Error: no",
  });
  for (const error of [noSuchSession("a"), staleEpoch(7), offsetMismatch(5)]) {
    assert.equal(whileTrying("load it", error), error);
  }
});

test("what the component model cannot hold is not given to it", () => {
  assert.deepEqual(invalid("half \ud83d of a pair").payload.val, "half \ufffd of a pair");
  for (const number of [Number.NaN, -1, 0.5, 2 ** 53, Number.POSITIVE_INFINITY]) {
    assert.equal(offsetMismatch(number).payload.tag, "other");
    assert.equal(staleEpoch(number).payload.tag, "other");
  }
  assert.equal(offsetMismatch(2 ** 53 - 1).payload.tag, "offset-mismatch");
});

test("text of others is quoted", () => {
  assert.equal(noSuchSession('a"\n').payload.val, String.raw`there is no session "a\"\n"`);
  assert.ok(noSuchSession("a") instanceof AdapterError);
});
