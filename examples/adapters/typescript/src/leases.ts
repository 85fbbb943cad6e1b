/** Leases: who may write a session, by the database's clock. */

import { type Database, integer, type Leases, noSuchSession, sql, text } from "./agent-host/index.js";
import { now } from "./dialect.js";

/** The end of a lease that has ended: that it has is decided once, however long the statements behind that take. */
const ENDED = 0;

export function keepLeases(database: Database): Leases {
  const clock = now[database.dialect];

  const get: Leases["get"] = (session) => {
    const lease = database.first(
      sql`SELECT owner, address, expires - ${clock} FROM leases WHERE session = ${session}`,
      { id: text, address: text, remaining: integer },
    );
    return lease && { owner: { id: lease.id, address: lease.address }, expiresIn: Math.max(0, lease.remaining) };
  };

  return {
    acquire(session, owner, timeToLive) {
      database.batch([
        sql`
          UPDATE leases SET expires = ${ENDED}
          WHERE session = ${session} AND owner <> ${owner.id} AND expires <= ${clock}`,
        // Whoever had it before, and may still think so, can write nothing more.
        sql`
          UPDATE sessions SET epoch = epoch + 1 WHERE id = ${session} AND EXISTS
            (SELECT 1 FROM leases WHERE session = ${session} AND owner <> ${owner.id} AND expires = ${ENDED})`,
        sql`
          INSERT INTO leases (session, owner, address, expires)
          SELECT id, ${owner.id}, ${owner.address}, ${clock} + ${timeToLive} FROM sessions WHERE id = ${session}
          ON CONFLICT (session) DO UPDATE
          SET owner = excluded.owner, address = excluded.address, expires = excluded.expires
          WHERE leases.owner = excluded.owner OR leases.expires = ${ENDED}`,
      ]);
      const lease = get(session);
      if (lease == null) {
        throw noSuchSession(session);
      }
      return lease;
    },

    renew(owner, timeToLive, sessions) {
      const changed = database.batch(
        sessions.map(
          (session) => sql`
            UPDATE leases SET expires = ${clock} + ${timeToLive} WHERE session = ${session} AND owner = ${owner}`,
        ),
      );
      return sessions.filter((_, index) => changed[index] === 0);
    },

    release(session, owner) {
      database.execute(sql`DELETE FROM leases WHERE session = ${session} AND owner = ${owner}`);
    },

    get,
  };
}
