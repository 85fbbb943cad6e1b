/** Databases that the host grants. */

import { Connection } from "agent-host:sql/sql@0.1.0";

import type { DatabaseError, Dialect, HostConnection, HostTransaction } from "./contract.js";
import { type AdapterError, invalid, other, unavailable } from "./error.js";
import type { Sql } from "./sql.js";
import { type Columns, type Read, Row } from "./values.js";

/** The most rows that are asked for at once. The host ends a page at about 1 MiB, which it mostly comes to first. */
const PAGE_ROWS = 10_000;

/** Runs statements one by one: a database, or a transaction in it. */
export class Executor {
  readonly dialect: Dialect;
  readonly #host: HostConnection | HostTransaction;

  constructor(host: HostConnection | HostTransaction, dialect: Dialect) {
    this.#host = host;
    this.dialect = dialect;
  }

  /** Runs a statement and gives the number of rows that it changed. */
  execute(statement: Sql): number {
    const { sql, params } = statement.statement(this.dialect);
    return fromHost(() => this.#host.execute(sql, params));
  }

  /** The rows of a query. It is run when the first of them is asked for, and let go of as soon as no more are. */
  *rows(query: Sql): Generator<Row, void, void> {
    const { sql, params } = query.statement(this.dialect);
    const rows = fromHost(() => this.#host.query(sql, params));
    try {
      for (let page = rows.next(PAGE_ROWS); page.length > 0; page = rows.next(PAGE_ROWS)) {
        for (const values of page) {
          yield new Row(values);
        }
      }
    } finally {
      // The engine does not give a resource back when it collects its garbage.
      rows[Symbol.dispose]();
    }
  }

  /** The rows of a query, read by `columns`. Like `rows`, it is run when the first is asked for. */
  *query<C extends Columns>(query: Sql, columns: C): Generator<Read<C>, void, void> {
    for (const row of this.rows(query)) {
      yield row.take(columns);
    }
  }

  /** The first row of a query; `undefined` if it has none. */
  first<C extends Columns>(query: Sql, columns: C): Read<C> | undefined {
    for (const row of this.query(query, columns)) {
      return row;
    }
    return undefined;
  }
}

/** A granted database. What is run outside of a transaction is durable when it returns. */
export class Database extends Executor {
  readonly #connection: HostConnection;

  private constructor(connection: HostConnection) {
    super(connection, connection.dialect());
    this.#connection = connection;
  }

  /** Opens the database that is granted under this name. */
  static open(name: string): Database {
    return new Database(fromHost(() => Connection.open(name) as unknown as HostConnection));
  }

  /** Runs the statements in one transaction, by one call into the host, and gives how many rows each changed. */
  batch(statements: readonly Sql[]): number[] {
    const batch = statements.map((statement) => statement.statement(this.dialect));
    return fromHost(() => this.#connection.batch(batch));
  }

  /**
   * Does `work` in a transaction, which is committed when it returns and rolled back when it throws. Others wait
   * meanwhile.
   */
  transaction<T>(work: (transaction: Executor) => T): T {
    const transaction = fromHost(() => this.#connection.begin());
    try {
      const result = work(new Executor(transaction, this.dialect));
      fromHost(() => transaction.commit());
      return result;
    } finally {
      // Without a commit, this rolls back.
      transaction[Symbol.dispose]();
    }
  }
}

/** Calls the host. An error of the database, which the engine throws with a `payload`, becomes one of the contract. */
function fromHost<T>(call: () => T): T {
  try {
    return call();
  } catch (thrown) {
    throw thrown instanceof Error && "payload" in thrown ? toContract(thrown.payload as DatabaseError, thrown) : thrown;
  }
}

/**
 * What is worth another try is `unavailable`; a database that was not granted is `invalid`, since the configuration is
 * wrong.
 */
function toContract({ tag, val }: DatabaseError, cause: Error): AdapterError {
  switch (tag) {
    case "busy":
      return unavailable(`the database is busy: ${val}`, { cause });
    case "unavailable":
      return unavailable(`the database is unavailable: ${val}`, { cause });
    case "denied":
      return invalid(`the database is not granted: ${val}`, { cause });
    case "constraint":
      return other(`the database refused what violates a constraint: ${val}`, { cause });
    case "syntax":
      return other(`the database refused the statement: ${val}`, { cause });
    case "other":
      return other(`the database failed: ${val}`, { cause });
  }
}
