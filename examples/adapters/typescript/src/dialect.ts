/** What differs between the databases. Everything else is written in the SQL that they share. */

import { type Dialect, raw, type Sql } from "./agent-host/index.js";

/** Words of a statement that defines tables. */
export interface Words {
  /** A key that the database gives. */
  readonly id: Sql;
  readonly integer: Sql;
  readonly bytes: Sql;
  /** Text that is compared and sorted byte by byte. */
  readonly name: Sql;
  /** What stands behind a table's columns. */
  readonly table: Sql;
}

/** The words in which a database defines tables. */
export const words: Readonly<Record<Dialect, Words>> = {
  sqlite: {
    id: raw("INTEGER PRIMARY KEY"),
    integer: raw("INTEGER"),
    bytes: raw("BLOB"),
    name: raw("TEXT"),
    table: raw("STRICT"),
  },
  postgresql: {
    id: raw("BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY"),
    integer: raw("BIGINT"),
    bytes: raw("BYTEA"),
    name: raw('TEXT COLLATE "C"'),
    table: raw(""),
  },
};

/**
 * The database's clock, in Unix milliseconds. Of PostgreSQL it is not the time at which the transaction began, which
 * may be long ago.
 */
export const now: Readonly<Record<Dialect, Sql>> = {
  sqlite: raw("CAST(unixepoch('subsec') * 1000 AS INTEGER)"),
  postgresql: raw("CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000 AS BIGINT)"),
};

/**
 * Whether a transaction has the database to itself from its first statement on, as in SQLite. Otherwise it must lock
 * what it relies on.
 */
export const isExclusive: Readonly<Record<Dialect, boolean>> = { sqlite: true, postgresql: false };
