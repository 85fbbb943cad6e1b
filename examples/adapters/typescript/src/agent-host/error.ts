/** The contract's errors. An exported function may throw these and nothing else: anything else is a trap. */

import type { ContractError } from "./contract.js";
import { isNumber } from "./numbers.js";

/** An error of the contract. The engine takes the variant from `payload`, which therefore has this name. */
export class AdapterError extends Error {
  readonly payload: ContractError;

  constructor(payload: ContractError, options?: ErrorOptions) {
    super(`${payload.tag}: ${payload.val}`, options);
    this.name = "AdapterError";
    this.payload = passable(payload);
  }
}

/**
 * The error as one that can be given to the host. What cannot be is a trap: half of a surrogate pair, and a number that
 * is none of the contract's.
 */
function passable(error: ContractError): ContractError {
  if (error.tag !== "stale-epoch" && error.tag !== "offset-mismatch") {
    return { ...error, val: error.val.toWellFormed() };
  }
  return isNumber(error.val)
    ? error
    : { tag: "other", val: `${error.tag} was to be told of ${error.val}, which is no number of the contract` };
}

const withText =
  (tag: Exclude<ContractError["tag"], "stale-epoch" | "offset-mismatch">) =>
  (text: string, options?: ErrorOptions): AdapterError =>
    new AdapterError({ tag, val: text }, options);

/** What was named does not exist. */
export const notFound = withText("not-found");

/** The id is taken. */
export const alreadyExists = withText("already-exists");

/** The argument can never succeed. */
export const invalid = withText("invalid");

/** The store cannot answer now; the same call is worth another try. */
export const unavailable = withText("unavailable");

/** What is stored cannot be read. */
export const corrupt = withText("corrupt");

/** Anything else. */
export const other = withText("other");

/** The write's epoch is lower than `epoch`, the one that the store has for the session. */
export const staleEpoch = (epoch: number): AdapterError => new AdapterError({ tag: "stale-epoch", val: epoch });

/** The append does not fit to the stream, which has this length. */
export const offsetMismatch = (length: number): AdapterError =>
  new AdapterError({ tag: "offset-mismatch", val: length });

export const noSuchSession = (id: string): AdapterError => notFound(`there is no session ${quote(id)}`);

export const noSuchFile = (session: string, path: string): AdapterError =>
  notFound(`session ${quote(session)} has no file ${quote(path)}`);

export const sessionExists = (id: string): AdapterError => alreadyExists(`there is already a session ${quote(id)}`);

/** Text of others within a message: its quotes and line breaks cannot be taken for the message's own. */
export const quote = (text: string): string => JSON.stringify(text);

/** Whatever was thrown, as an error of the contract. */
export function toAdapterError(thrown: unknown): AdapterError {
  if (thrown instanceof AdapterError) {
    return thrown;
  }
  return other(describe(thrown), { cause: thrown });
}

function describe(thrown: unknown): string {
  try {
    return thrown instanceof Error ? `${thrown.name}: ${thrown.message}` : `${String(thrown)} was thrown`;
  } catch {
    return "something was thrown that cannot be written as text";
  }
}

/** Puts what was being done before the text of an error that says only why it failed. */
export function whileTrying(doing: string, thrown: unknown): AdapterError {
  const error = toAdapterError(thrown);
  switch (error.payload.tag) {
    case "invalid":
    case "unavailable":
    case "corrupt":
    case "other":
      return new AdapterError(
        { tag: error.payload.tag, val: `failed to ${doing}: ${error.payload.val}` },
        { cause: thrown },
      );
    default:
      return error;
  }
}
