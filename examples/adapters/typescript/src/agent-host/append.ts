/** What an append means for a stream: a gap, bytes that must already be there, bytes that are new. */

import { offsetMismatch } from "./error.js";

export interface Append {
  /**
   * What the stream must already have from the append's offset on. If it has other bytes there, the append is
   * `offset-mismatch`.
   */
  readonly expected: Uint8Array;
  /** What comes behind the stream's end. */
  readonly fresh: Uint8Array;
}

/**
 * Says what an append of `data` at `offset` means for a stream of `length` bytes. It is `offset-mismatch` if it would
 * leave a gap.
 */
export function planAppend(length: number, offset: number, data: Uint8Array): Append {
  if (offset > length) {
    throw offsetMismatch(length);
  }
  const overlap = Math.min(length - offset, data.length);
  return { expected: data.subarray(0, overlap), fresh: data.subarray(overlap) };
}
