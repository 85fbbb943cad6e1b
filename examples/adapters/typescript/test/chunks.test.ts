import assert from "node:assert/strict";
import { test } from "node:test";

import { AdapterError } from "../src/agent-host/index.js";
import { type Chunk, CHUNK_BYTES, cut, endOf, join } from "../src/chunks.js";

const EIGHT = new Uint8Array([1, 2, 3, 4, 5, 6, 7, 8]);
const CHUNKS: readonly Chunk[] = [
  { start: 0, data: EIGHT.slice(0, 3) },
  { start: 3, data: EIGHT.slice(3, 4) },
  { start: 4, data: EIGHT.slice(4, 8) },
];

test("what was cut is put together again", () => {
  const data = Uint8Array.from({ length: 2 * CHUNK_BYTES + 7 }, (_, index) => index % 251);
  const chunks = cut(100, data);
  assert.deepEqual(
    chunks.map(({ start, data }) => [start, data.length]),
    [
      [100, CHUNK_BYTES],
      [100 + CHUNK_BYTES, CHUNK_BYTES],
      [100 + 2 * CHUNK_BYTES, 7],
    ],
  );
  assert.deepEqual(join(chunks, 100, data.length), data);
  assert.deepEqual(join(chunks, 103, 2 * CHUNK_BYTES), data.slice(3, 2 * CHUNK_BYTES + 3));
  assert.deepEqual(cut(5, new Uint8Array()), []);
});

test("a range is taken across rows, wherever it begins and ends", () => {
  for (let offset = 0; offset < 8; offset += 1) {
    for (let max = 0; max < 10; max += 1) {
      // The query gives the rows from the one on that has the offset.
      const from = CHUNKS.findLastIndex(({ start }) => start <= offset);
      const rows = CHUNKS.slice(from).filter(({ start }) => start < offset + max);
      const wanted = rows.length > 0 ? EIGHT.slice(offset, offset + max) : undefined;
      assert.deepEqual(join(rows, offset, max), wanted, `${max} bytes at ${offset}`);
    }
  }
});

test("beyond the end there is nothing", () => {
  assert.deepEqual(join(CHUNKS.slice(2), 8, 5), new Uint8Array());
  assert.deepEqual(join(CHUNKS.slice(2), 99, 5), new Uint8Array());
});

test("a read at the last number there is ends at a number", () => {
  assert.equal(endOf(5, 3), 8);
  assert.equal(endOf(2 ** 53 - 1, 1024 * 1024), 2 ** 53 - 1);
});

test("nothing stored is told from nothing there", () => {
  assert.deepEqual(join([{ start: null, data: null }], 0, 5), new Uint8Array());
  assert.equal(join([], 0, 5), undefined);
});

test("a hole is corrupt", () => {
  for (const [rows, offset] of [
    [[CHUNKS[0], CHUNKS[2]], 0],
    [[CHUNKS[2]], 2],
  ] as [Chunk[], number][]) {
    assert.throws(
      () => join(rows, offset, 9),
      (error) => error instanceof AdapterError && error.payload.tag === "corrupt",
    );
  }
});
