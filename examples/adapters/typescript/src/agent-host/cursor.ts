/** Where a page of a listing ends. */

import type { SessionRecord } from "./contract.js";
import { invalid, quote } from "./error.js";
import { isNumber } from "./numbers.js";

/**
 * The place of a session in a listing that is newest first, by creation time and then by id. Neither ever changes, so a
 * listing that goes on behind it misses nothing and repeats nothing, whatever was added meanwhile.
 */
export type Place = Pick<SessionRecord, "createdAt" | "id">;

const CURSOR = /^(\d{1,16})\/([A-Za-z0-9._-]{1,128})$/;

/** A place as the text that the host hands back for the next page. */
export const toCursor = ({ createdAt, id }: Place): string => `${createdAt}/${id}`;

export function fromCursor(cursor: string): Place {
  const [, time, id] = CURSOR.exec(cursor) ?? [];
  const createdAt = Number(time);
  if (id === undefined || !isNumber(createdAt)) {
    throw invalid(`the cursor ${quote(cursor)} was not given by this adapter`);
  }
  return { createdAt, id };
}
