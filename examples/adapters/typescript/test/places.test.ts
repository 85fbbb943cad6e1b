import assert from "node:assert/strict";
import { test } from "node:test";

import { AdapterError, fromCursor, planAppend, toCursor } from "../src/agent-host/index.js";

const bytes = (text: string): Uint8Array => new Uint8Array([...text].map((letter) => letter.charCodeAt(0)));

test("an append is split where the stream ends", () => {
  const plan = (length: number, offset: number) => planAppend(length, offset, bytes("abcd"));
  assert.deepEqual(plan(10, 10), { expected: bytes(""), fresh: bytes("abcd") }, "at the end");
  assert.deepEqual(plan(10, 8), { expected: bytes("ab"), fresh: bytes("cd") }, "partly there");
  assert.deepEqual(plan(10, 6), { expected: bytes("abcd"), fresh: bytes("") }, "all there, up to the end");
  assert.deepEqual(plan(10, 0), { expected: bytes("abcd"), fresh: bytes("") }, "all there, and more behind");
  assert.deepEqual(plan(0, 0), { expected: bytes(""), fresh: bytes("abcd") }, "the first");
});

test("an append behind a gap is refused with the stream's length, even if it is empty", () => {
  for (const data of [bytes("a"), bytes("")]) {
    assert.throws(
      () => planAppend(10, 11, data),
      (error) => error instanceof AdapterError && error.payload.tag === "offset-mismatch" && error.payload.val === 10,
    );
  }
});

test("a cursor reads back, and other text is refused", () => {
  for (const place of [
    { createdAt: 1_795_330_039_110, id: "a-b" },
    { createdAt: 0, id: "_" },
    { createdAt: 2 ** 53 - 1, id: "x".repeat(128) },
  ]) {
    assert.deepEqual(fromCursor(toCursor(place)), place);
  }
  for (const text of ["", "5", "5/", "x/a", "-1/a", "/a", "1e3/a", " 1/a", "1/a\n", "9007199254740992/a", "1/a/b"]) {
    assert.throws(
      () => fromCursor(text),
      (error) => error instanceof AdapterError && error.payload.tag === "invalid",
      `${JSON.stringify(text)} was accepted`,
    );
  }
});
