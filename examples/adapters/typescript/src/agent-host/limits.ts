/** Arguments that can never succeed are refused here, before an adapter sees them. The limits are the contract's. */

import { invalid } from "./error.js";
import { isNumber } from "./numbers.js";

/** The most bytes that one read of a stream or file may ask for. */
export const MAX_READ_BYTES = 1024 * 1024;

/** The most sessions that one page may have. */
const MAX_LIST_SESSIONS = 1000;

/** The longest time to live of a lease, in milliseconds: a day. */
const MAX_LEASE_MILLISECONDS = 24 * 60 * 60 * 1000;

/** The most sessions that one renewal may name. */
const MAX_RENEWED_SESSIONS = 500;

/** What `types.wit` says of a session's id. */
const SESSION_ID = /^[A-Za-z0-9_-][A-Za-z0-9._-]{0,127}$/;

export function checkNumbers(numbers: Readonly<Record<string, number | null | undefined>>): void {
  for (const [what, number] of Object.entries(numbers)) {
    if (number != null && !isNumber(number)) {
      throw invalid(`the ${what} ${number} is not a whole number below 2^53`);
    }
  }
}

export function checkSessionId(id: string): void {
  if (!SESSION_ID.test(id)) {
    throw invalid("a session id is 1 to 128 characters out of `A-Z a-z 0-9 . _ -` and does not begin with a dot");
  }
}

export function checkRead(offset: number, max: number): void {
  checkNumbers({ offset });
  if (max > MAX_READ_BYTES) {
    throw invalid(`${max} bytes are more than the ${MAX_READ_BYTES} that one read may ask for`);
  }
}

export function checkListed(limit: number): void {
  if (limit < 1 || limit > MAX_LIST_SESSIONS) {
    throw invalid(`the limit ${limit} is not 1 to ${MAX_LIST_SESSIONS}`);
  }
}

export function checkTimeToLive(milliseconds: number): void {
  if (!(milliseconds >= 1 && milliseconds <= MAX_LEASE_MILLISECONDS)) {
    throw invalid(`a lease of ${milliseconds} ms was asked for; it is 1 to ${MAX_LEASE_MILLISECONDS}`);
  }
}

export function checkRenewed(count: number): void {
  if (count > MAX_RENEWED_SESSIONS) {
    throw invalid(`${count} sessions are more than the ${MAX_RENEWED_SESSIONS} that one renewal may name`);
  }
}
