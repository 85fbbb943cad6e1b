/** The tables, and how they came to be: numbered migrations, each of which is run once. */

import { corrupt, type Database, type Executor, log, other, type Sql, sql, unsigned } from "./agent-host/index.js";
import { isExclusive, type Words, words } from "./dialect.js";

/** The migrations; the first is number 1. One that was released is never changed: a new one is added behind it. */
const MIGRATIONS: readonly ((words: Words) => readonly Sql[])[] = [
  ({ id, integer, bytes, name, table }) => [
    sql`CREATE TABLE sessions (
      id ${name} PRIMARY KEY,
      epoch ${integer} NOT NULL,
      created_at ${integer} NOT NULL,
      last_activity ${integer} NOT NULL,
      profile TEXT NOT NULL,
      architecture TEXT NOT NULL,
      name TEXT,
      options TEXT,
      extra TEXT
    ) ${table}`,
    // The order of a listing.
    sql`CREATE INDEX sessions_by_creation ON sessions (created_at, id)`,
    sql`CREATE TABLE streams (
      id ${id},
      session ${name} NOT NULL,
      name ${name} NOT NULL,
      length ${integer} NOT NULL,
      UNIQUE (session, name)
    ) ${table}`,
    // Without gaps: a chunk begins where the one before it ends. It is an ordinary table and not one that is clustered
    // by its key: such a one of SQLite's keeps only the beginning of a row of a few hundred bytes in place, and gives
    // the rest of it a page of its own.
    sql`CREATE TABLE stream_chunks (
      stream ${integer} NOT NULL,
      start ${integer} NOT NULL,
      data ${bytes} NOT NULL,
      PRIMARY KEY (stream, start)
    ) ${table}`,
    sql`CREATE TABLE files (
      id ${id},
      session ${name} NOT NULL,
      path ${name} NOT NULL,
      size ${integer} NOT NULL,
      sha256 TEXT NOT NULL,
      created_at ${integer} NOT NULL,
      modified_at ${integer} NOT NULL,
      extra TEXT,
      UNIQUE (session, path)
    ) ${table}`,
    // Contents have a table of their own, so that the index of files is read without them.
    sql`CREATE TABLE file_chunks (
      file ${integer} NOT NULL,
      start ${integer} NOT NULL,
      data ${bytes} NOT NULL,
      PRIMARY KEY (file, start)
    ) ${table}`,
    sql`CREATE TABLE profiles (
      id ${name} PRIMARY KEY,
      name TEXT NOT NULL,
      description TEXT,
      document TEXT NOT NULL
    ) ${table}`,
    sql`CREATE TABLE leases (
      session ${name} PRIMARY KEY,
      owner TEXT NOT NULL,
      address TEXT NOT NULL,
      expires ${integer} NOT NULL
    ) ${table}`,
  ],
];

/** The number of the last migration that this adapter knows. */
const NEWEST = MIGRATIONS.length;

/** The number of the last migration that the database has had. */
const LAST = sql`SELECT COALESCE(MAX(number), 0) FROM migrations`;

/** Makes other instances wait until the transaction has ended. The number is this adapter's own. */
const LOCK_SCHEMA = sql`SELECT 1 FROM (SELECT pg_advisory_xact_lock(7310309125)) AS locked`;

/** Brings the database up to date, whatever other instances do at the same time. */
export function migrate(database: Database): void {
  // Mostly there is nothing to do, which is seen without waiting for those who write.
  if (lastMigration(database) === NEWEST) {
    return;
  }
  const found = database.transaction((transaction) => {
    if (!isExclusive[transaction.dialect]) {
      transaction.first(LOCK_SCHEMA, {});
    }
    const { integer, table } = words[transaction.dialect];
    transaction.execute(sql`CREATE TABLE IF NOT EXISTS migrations (number ${integer} PRIMARY KEY) ${table}`);
    const last = readLast(transaction);
    if (last > NEWEST) {
      throw other(
        `the database has had migration ${last}, and this adapter knows only ${NEWEST}: a newer one has opened it`,
      );
    }
    for (const [index, migration] of MIGRATIONS.entries()) {
      if (index < last) {
        continue;
      }
      for (const statement of migration(words[transaction.dialect])) {
        transaction.execute(statement);
      }
      transaction.execute(sql`INSERT INTO migrations (number) VALUES (${index + 1})`);
    }
    return last;
  });
  if (found < NEWEST) {
    log.info(`the database was brought from migration ${found} to ${NEWEST}`);
  }
}

/**
 * Whether the database answers, and has tables. Their version is not looked at: while a newer adapter takes over, this
 * one still serves.
 */
export function checkSchema(database: Database): void {
  readLast(database);
}

/**
 * The last migration, or nothing if it cannot be told: the table may be missing, or the database be in trouble, which
 * then shows soon enough.
 */
function lastMigration(database: Database): number | undefined {
  try {
    return readLast(database);
  } catch {
    return undefined;
  }
}

function readLast(executor: Executor): number {
  const row = executor.first(LAST, { last: unsigned });
  if (row === undefined) {
    throw corrupt("the database does not tell its last migration");
  }
  return row.last;
}
