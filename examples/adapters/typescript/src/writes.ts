/** Writes to a session under an epoch: batches that do nothing unless the session exists and has that epoch. */

import {
  type AdapterError,
  type Database,
  type Executor,
  noSuchSession,
  type Sql,
  sql,
  staleEpoch,
  unavailable,
  unsigned,
} from "./agent-host/index.js";

/** The condition on a row of `sessions` that it is this session, and has this epoch. */
export const holds = (epoch: number, id: string): Sql => sql`id = ${id} AND epoch = ${epoch}`;

/** The session's id, or nothing unless it has this epoch. */
export const owned = (epoch: number, id: string): Sql => sql`(SELECT id FROM sessions WHERE ${holds(epoch, id)})`;

/**
 * Takes the session for a write: changes one row, or none if there is no such session or the epoch is too low. Until
 * the transaction ends, no other one can do the same.
 */
export const claim = (epoch: number, id: string): Sql =>
  sql`UPDATE sessions SET epoch = ${epoch} WHERE id = ${id} AND epoch <= ${epoch}`;

/** Runs the statements, which must do nothing unless the session has this epoch, behind a claim. */
export function write(database: Database, epoch: number, id: string, statements: readonly Sql[]): void {
  const [claimed] = database.batch([claim(epoch, id), ...statements]);
  if (claimed !== 1) {
    throw refusal(database, epoch, id);
  }
}

/** Why a write to a session did nothing. */
export function refusal(executor: Executor, epoch: number, id: string): AdapterError {
  const session = executor.first(sql`SELECT epoch FROM sessions WHERE id = ${id}`, { epoch: unsigned });
  if (session === undefined) {
    return noSuchSession(id);
  }
  // The session may have been created between the write and this look: then the same write succeeds next time.
  return epoch < session.epoch ? staleEpoch(session.epoch) : unavailable("the session was created at this moment");
}
