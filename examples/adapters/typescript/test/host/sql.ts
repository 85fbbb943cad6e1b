/** Stands for the host's databases: answers as it is told, and keeps what it was asked. */

import type {
  DatabaseError,
  Dialect,
  HostConnection,
  HostRows,
  HostTransaction,
  Value,
} from "../../src/agent-host/index.js";

/** What every call on a database answers next. */
export const answers: {
  dialect: Dialect;
  pages: Value[][][];
  changed: number[];
  error: DatabaseError | undefined;
} = { dialect: "sqlite", pages: [], changed: [], error: undefined };

/** What was asked, in order. */
export const calls: string[] = [];

export function reset(): void {
  Object.assign(answers, { dialect: "sqlite", pages: [], changed: [], error: undefined });
  calls.length = 0;
}

/** An error as the engine throws those of the host. */
function failIfTold(): void {
  if (answers.error !== undefined) {
    throw Object.assign(new Error("[object Object] (see error.payload)"), { payload: answers.error });
  }
}

function rows(): HostRows {
  const pages = [...answers.pages];
  return {
    columns: () => [],
    next: () => pages.shift() ?? [],
    [Symbol.dispose]: () => void calls.push("drop rows"),
  };
}

const executor = {
  execute(sql: string): number {
    calls.push(`execute ${sql}`);
    failIfTold();
    return answers.changed[0] ?? 0;
  },
  query(sql: string): HostRows {
    calls.push(`query ${sql}`);
    failIfTold();
    return rows();
  },
};

const transaction: HostTransaction = {
  ...executor,
  commit() {
    calls.push("commit");
    failIfTold();
  },
  rollback: () => void calls.push("rollback"),
  [Symbol.dispose]: () => void calls.push("drop transaction"),
};

const connection: HostConnection = {
  ...executor,
  dialect: () => answers.dialect,
  batch(statements) {
    calls.push(...statements.map(({ sql }) => `batch ${sql}`));
    failIfTold();
    return answers.changed;
  },
  begin() {
    calls.push("begin");
    failIfTold();
    return transaction;
  },
  [Symbol.dispose]: () => void calls.push("drop connection"),
};

export const Connection = {
  open(name: string): HostConnection {
    calls.push(`open ${name}`);
    failIfTold();
    return connection;
  },
};
