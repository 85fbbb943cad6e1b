/** Streams: rows of bytes, and a row that says how long the stream is. */

import {
  type Database,
  type Executor,
  MAX_READ_BYTES,
  noSuchSession,
  offsetMismatch,
  planAppend,
  type Sql,
  type Streams,
  sql,
  unsigned,
} from "./agent-host/index.js";
import { CHUNK, cut, endOf, join } from "./chunks.js";
import { isExclusive } from "./dialect.js";
import { claim, holds, owned, refusal, write } from "./writes.js";

/** A stream of a session, for a write under an epoch. */
interface Place {
  readonly epoch: number;
  readonly session: string;
  readonly stream: string;
}

export function keepStreams(database: Database): Streams {
  return {
    append(epoch, session, stream, offset, data) {
      const place = { epoch, session, stream };
      return appendAtEnd(database, place, offset, data) ?? appendWithCare(database, place, offset, data);
    },

    read(session, stream, offset, max) {
      const content = read(database, session, stream, offset, max);
      if (content === undefined) {
        throw noSuchSession(session);
      }
      return content;
    },

    replace(epoch, session, stream, data) {
      const place = { epoch, session, stream };
      write(database, epoch, session, [
        setLength(place, data.length),
        sql`DELETE FROM stream_chunks WHERE stream = (SELECT id FROM streams WHERE ${at(place)})`,
        ...insertChunks(at(place), 0, data),
      ]);
      return data.length;
    },
  };
}

/**
 * The append that nearly all are, by one call into the host: the session has this epoch already, and the stream ends at
 * `offset`. `undefined` if it is not so; then nothing was changed.
 */
function appendAtEnd(database: Database, place: Place, offset: number, data: Uint8Array): number | undefined {
  const length = offset + data.length;
  const end = sql`${at(place)} AND length = ${offset}`;
  const changed = database.batch([
    ...lock(database, place),
    ...insertChunks(end, offset, data),
    sql`UPDATE streams SET length = ${length} WHERE ${end}`,
  ]);
  return changed.at(-1) === 1 ? length : undefined;
}

/**
 * What keeps other transactions from changing the session's epoch and streams until this one has ended. It changes
 * nothing itself.
 */
const lock = ({ dialect }: Database, { epoch, session }: Place): Sql[] =>
  // A batch takes no `SELECT … FOR UPDATE`, since that gives rows.
  isExclusive[dialect] ? [] : [sql`UPDATE sessions SET epoch = epoch WHERE ${holds(epoch, session)}`];

/** Any append: the first of a stream or of an epoch, one that repeats what is stored, one that is refused. */
function appendWithCare(database: Database, place: Place, offset: number, data: Uint8Array): number {
  const { epoch, session, stream } = place;
  return database.transaction((transaction) => {
    if (transaction.execute(claim(epoch, session)) === 0) {
      throw refusal(transaction, epoch, session);
    }
    const stored = transaction.first(sql`SELECT length FROM streams WHERE ${at(place)}`, { length: unsigned });
    const length = stored?.length ?? 0;
    const { expected, fresh } = planAppend(length, offset, data);
    for (let from = 0; from < expected.length; from += MAX_READ_BYTES) {
      const piece = expected.subarray(from, from + MAX_READ_BYTES);
      const there = read(transaction, session, stream, offset + from, piece.length);
      if (there === undefined || !areEqual(there, piece)) {
        throw offsetMismatch(length);
      }
    }
    const end = length + fresh.length;
    if (fresh.length > 0) {
      transaction.execute(setLength(place, end));
      for (const insert of insertChunks(at(place), length, fresh)) {
        transaction.execute(insert);
      }
    }
    return end;
  });
}

/** The bytes from `offset`, at most `max`; `undefined` if there is no such session. */
function read(
  executor: Executor,
  session: string,
  stream: string,
  offset: number,
  max: number,
): Uint8Array | undefined {
  const rows = executor.query(
    sql`
      SELECT c.start, c.data FROM sessions s
      LEFT JOIN streams t ON t.session = s.id AND t.name = ${stream}
      LEFT JOIN stream_chunks c ON c.stream = t.id AND c.start < ${endOf(offset, max)}
        AND c.start >= (SELECT MAX(b.start) FROM stream_chunks b WHERE b.stream = t.id AND b.start <= ${offset})
      WHERE s.id = ${session} ORDER BY c.start`,
    CHUNK,
  );
  return join(rows, offset, max);
}

/** The condition on a row of `streams` that it is this stream, and that its session has this epoch. */
const at = ({ epoch, session, stream }: Place): Sql => sql`session = ${owned(epoch, session)} AND name = ${stream}`;

const setLength = ({ epoch, session, stream }: Place, length: number): Sql => sql`
  INSERT INTO streams (session, name, length)
  SELECT id, ${stream}, ${length} FROM sessions WHERE ${holds(epoch, session)}
  ON CONFLICT (session, name) DO UPDATE SET length = excluded.length`;

/** Adds `data`, which begins at `start`, to the stream for which a condition on `streams` holds, if it does for any. */
const insertChunks = (condition: Sql, start: number, data: Uint8Array): Sql[] =>
  cut(start, data).map(
    (chunk) => sql`
      INSERT INTO stream_chunks (stream, start, data)
      SELECT id, ${chunk.start}, ${chunk.data} FROM streams WHERE ${condition}`,
  );

/** Whether two pieces have the same bytes. Texts are compared by the engine itself, many times as fast as by a loop. */
const areEqual = (one: Uint8Array, other: Uint8Array): boolean => one.toBase64() === other.toBase64();
