/** Stands for the host: keeps what it was asked, and answers as it is told. */

import type { ContractError } from "../../src/agent-host/contract.js";

/** What was asked, in order: the function and its arguments. */
export const calls: unknown[][] = [];

/** The error that every call answers with. */
export const answers: { error: ContractError | undefined } = { error: undefined };

export function reset(): void {
  calls.length = 0;
  answers.error = undefined;
}

/** Throws as the engine throws the host's errors. */
function asked(...call: unknown[]): void {
  calls.push(call);
  if (answers.error !== undefined) {
    throw Object.assign(new Error("[object Object] (see error.payload)"), { payload: answers.error });
  }
}

export function getSession(session: string): unknown {
  asked("getSession", session);
  const record = { id: session, createdAt: 1, lastActivity: 2, profile: "p", architecture: "echo", name: null };
  return { session: { ...record, options: null, extra: null }, metadata: '{"cost":1}', isRunning: true };
}

export function interrupt(session: string): boolean {
  asked("interrupt", session);
  return true;
}

export const sendMessage = (...given: unknown[]): void => asked("sendMessage", ...given);
export const setMetadata = (...given: unknown[]): void => asked("setMetadata", ...given);
export const note = (...given: unknown[]): void => asked("note", ...given);
export const emit = (...given: unknown[]): void => asked("emit", ...given);
