/** Contents of streams and files as rows of bytes: `start` (the place of the first byte) and `data`. */

import { bytes, corrupt, optional, unsigned } from "./agent-host/index.js";

/**
 * The most bytes of one row. A read of a range takes rows as wholes, so this bounds what it takes in vain at either
 * end; and it keeps a row far below what databases and the host's pages of rows can hold.
 */
export const CHUNK_BYTES = 256 * 1024;

export interface Chunk {
  readonly start: number;
  readonly data: Uint8Array;
}

/** The columns of a row that holds bytes. Both are null where there are none, but something that could have some. */
export const CHUNK = { start: optional(unsigned), data: optional(bytes) };

/**
 * Where a read ends that begins at `offset`. Nothing is stored at the last number of the contract or behind it, so that
 * is far enough.
 */
export const endOf = (offset: number, max: number): number => Math.min(offset + max, Number.MAX_SAFE_INTEGER);

/** Cuts `data`, which begins at `start`, into rows. */
export function cut(start: number, data: Uint8Array): Chunk[] {
  return Array.from({ length: Math.ceil(data.length / CHUNK_BYTES) }, (_, index) => {
    const from = index * CHUNK_BYTES;
    return { start: start + from, data: data.subarray(from, from + CHUNK_BYTES) };
  });
}

/**
 * The bytes from `offset`, at most `max`, out of the rows that hold them, in order. A row of nulls says that there is a
 * stream or file, but nothing of it at that place; `undefined` is given for no row at all.
 */
export function join(
  rows: Iterable<{ readonly start: number | null; readonly data: Uint8Array | null }>,
  offset: number,
  max: number,
): Uint8Array | undefined {
  const pieces: Uint8Array[] = [];
  let found = false;
  let length = 0;
  let end: number | undefined;
  for (const { start, data } of rows) {
    found = true;
    if (start === null || data === null) {
      continue;
    }
    if (end === undefined ? start > offset : start !== end) {
      throw corrupt(`the stored bytes end at ${end ?? offset} and go on at ${start}`);
    }
    end = start + data.length;
    // Only the first row can begin before the range.
    const from = Math.max(0, offset - start);
    const piece = data.subarray(from, from + max - length);
    pieces.push(piece);
    length += piece.length;
  }
  return found ? concatenate(pieces, length) : undefined;
}

function concatenate(pieces: readonly Uint8Array[], length: number): Uint8Array {
  const [only] = pieces;
  if (only !== undefined && pieces.length === 1) {
    return only;
  }
  const whole = new Uint8Array(length);
  let at = 0;
  for (const piece of pieces) {
    whole.set(piece, at);
    at += piece.length;
  }
  return whole;
}
