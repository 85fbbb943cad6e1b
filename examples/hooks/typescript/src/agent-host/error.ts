/** The contract's errors. An exported function may throw these and nothing else: anything else is a trap. */

import type { ContractError } from "./contract.js";

/** An error of the contract. The engine takes the variant from `payload`, which therefore has this name. */
export class HookError extends Error {
  readonly payload: ContractError;

  constructor(payload: ContractError, options?: ErrorOptions) {
    super(`${payload.tag}: ${payload.val}`, options);
    this.name = "HookError";
    // Half of a surrogate pair cannot be given to the host.
    this.payload = hasText(payload) ? { ...payload, val: payload.val.toWellFormed() } : payload;
  }
}

type WithText = Exclude<ContractError, { tag: "stale-epoch" | "offset-mismatch" }>;

const hasText = (error: ContractError): error is WithText => typeof error.val === "string";

const withText =
  (tag: WithText["tag"]) =>
  (text: string, options?: ErrorOptions): HookError =>
    new HookError({ tag, val: text }, options);

/** The session does not exist. */
export const notFound = withText("not-found");

/** The argument, or the configuration, can never succeed. */
export const invalid = withText("invalid");

/** It does not work now, and is worth another try. */
export const unavailable = withText("unavailable");

/** What is stored cannot be read. */
export const corrupt = withText("corrupt");

/** Anything else. */
export const other = withText("other");

/** Text of others within a message: its quotes and line breaks cannot be taken for the message's own. */
export const quote = (text: string): string => JSON.stringify(text);

/** Whatever was thrown, as an error of the contract. */
export function toHookError(thrown: unknown): HookError {
  if (thrown instanceof HookError) {
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
export function whileTrying(doing: string, thrown: unknown): HookError {
  const { payload } = toHookError(thrown);
  const error: ContractError = hasText(payload) ? { ...payload, val: `failed to ${doing}: ${payload.val}` } : payload;
  return new HookError(error, { cause: thrown });
}
