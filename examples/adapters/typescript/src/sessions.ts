/** Sessions' records. */

import {
  type Database,
  fromCursor,
  optional,
  type Place,
  sessionExists,
  type SessionRecord,
  type Sessions,
  type Snapshot,
  sql,
  text,
  toCursor,
  unsigned,
} from "./agent-host/index.js";
import { claim, holds, owned, refusal } from "./writes.js";

/**
 * The most rows of one query of a listing. Records may have large options: so many of a megabyte are within the 64 MiB
 * that the host holds for one query.
 */
const LIST_ROWS = 60;

/**
 * The characters of names, options and extras after which a page ends, however short it is: what an instance's memory
 * can easily hold.
 */
const PAGE_CHARACTERS = 4 * 1024 * 1024;

/** The columns of a record in a listing. */
const RECORD = {
  id: text,
  createdAt: unsigned,
  lastActivity: unsigned,
  profile: text,
  architecture: text,
  name: optional(text),
  options: optional(text),
  extra: optional(text),
};

/** The three kinds of rows that a snapshot is made of. */
const SESSION_ROW = {
  profile: text,
  epoch: unsigned,
  createdAt: unsigned,
  lastActivity: unsigned,
  architecture: text,
  name: optional(text),
  options: optional(text),
  extra: optional(text),
};
const STREAM_ROW = { name: text, length: unsigned };
const FILE_ROW = {
  path: text,
  size: unsigned,
  createdAt: unsigned,
  modifiedAt: unsigned,
  sha256: text,
  extra: optional(text),
};

export function keepSessions(database: Database): Sessions {
  return {
    createSession(epoch, session) {
      const { id, createdAt, lastActivity, profile, architecture, name, options, extra } = session;
      const created = database.execute(sql`
        INSERT INTO sessions (id, epoch, created_at, last_activity, profile, architecture, name, options, extra)
        VALUES (${id}, ${epoch}, ${createdAt}, ${lastActivity}, ${profile}, ${architecture},
                ${name}, ${options}, ${extra})
        ON CONFLICT (id) DO NOTHING`);
      if (created === 0) {
        throw sessionExists(id);
      }
    },

    // One query, so that all of it is the picture of one moment.
    loadSession(id) {
      let found: Pick<Snapshot, "epoch" | "session"> | undefined;
      const streams: Snapshot["streams"] = [];
      const files: Snapshot["files"] = [];
      const rows = database.rows(sql`
        SELECT 0, profile, epoch, created_at, last_activity, architecture, name, options, extra
        FROM sessions WHERE id = ${id}
        UNION ALL
        SELECT 1, name, length, NULL, NULL, NULL, NULL, NULL, NULL FROM streams WHERE session = ${id}
        UNION ALL
        SELECT 2, path, size, created_at, modified_at, sha256, extra, NULL, NULL FROM files WHERE session = ${id}`);
      for (const row of rows) {
        const { kind } = row.take({ kind: unsigned });
        if (kind === 0) {
          const { epoch, ...session } = row.take(SESSION_ROW);
          found = { epoch, session: { id, ...session } };
        } else if (kind === 1) {
          streams.push(row.take(STREAM_ROW));
        } else {
          files.push(row.take(FILE_ROW));
        }
      }
      return found && { ...found, streams, files };
    },

    updateSession(epoch, id, { lastActivity, name, options, extra }) {
      const updated = database.execute(sql`
        UPDATE sessions
        SET epoch = ${epoch}, last_activity = COALESCE(${lastActivity}, last_activity), name = COALESCE(${name}, name),
            options = COALESCE(${options}, options), extra = COALESCE(${extra}, extra)
        WHERE id = ${id} AND epoch <= ${epoch}`);
      if (updated === 0) {
        throw refusal(database, epoch, id);
      }
    },

    deleteSession(epoch, id) {
      const session = owned(epoch, id);
      const [claimed] = database.batch([
        claim(epoch, id),
        sql`DELETE FROM stream_chunks WHERE stream IN (SELECT id FROM streams WHERE session = ${session})`,
        sql`DELETE FROM file_chunks WHERE file IN (SELECT id FROM files WHERE session = ${session})`,
        sql`DELETE FROM streams WHERE session = ${session}`,
        sql`DELETE FROM files WHERE session = ${session}`,
        sql`DELETE FROM leases WHERE session = ${session}`,
        sql`DELETE FROM sessions WHERE ${holds(epoch, id)}`,
      ]);
      if (claimed === 1) {
        return;
      }
      const error = refusal(database, epoch, id);
      if (error.payload.tag !== "not-found") {
        throw error;
      }
    },

    listSessions(cursor, limit) {
      const sessions: SessionRecord[] = [];
      let characters = 0;
      const place = cursor == null ? undefined : fromCursor(cursor);
      // One more than there is room for tells whether there is a further page.
      for (const session of newestFirst(database, place, limit + 1)) {
        const last = sessions.at(-1);
        if (last !== undefined && (sessions.length === limit || characters >= PAGE_CHARACTERS)) {
          return { sessions, next: toCursor(last) };
        }
        sessions.push(session);
        for (const long of [session.name, session.options, session.extra]) {
          characters += long?.length ?? 0;
        }
      }
      return { sessions, next: null };
    },
  };
}

/** The sessions behind a place in the order of a listing, or all of them; `wanted` is about how many. */
function* newestFirst(
  database: Database,
  place: Place | undefined,
  wanted: number,
): Generator<SessionRecord, void, void> {
  const limit = Math.min(LIST_ROWS, wanted);
  let behind = place;
  let count: number;
  do {
    const further = behind ? sql`WHERE (created_at, id) < (${behind.createdAt}, ${behind.id})` : sql``;
    const page = sql`
      SELECT id, created_at, last_activity, profile, architecture, name, options, extra FROM sessions ${further}
      ORDER BY created_at DESC, id DESC LIMIT ${limit}`;
    count = 0;
    for (const session of database.query(page, RECORD)) {
      behind = session;
      count += 1;
      yield session;
    }
  } while (count === limit);
}
