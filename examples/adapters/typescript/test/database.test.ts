import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";

import { AdapterError, Database, type DatabaseError, sql, text, type Value } from "../src/agent-host/index.js";
import { answers, calls, reset } from "./host/sql.js";

const row = (val: string): Value[] => [{ tag: "text", val }];
const NAME = { name: text };

beforeEach(reset);

test("rows come page by page, and are let go of at the end", () => {
  answers.pages = [[row("a"), row("b")], [row("c")]];
  const names = [...Database.open("main").query(sql`SELECT name`, NAME)].map(({ name }) => name);
  assert.deepEqual(names, ["a", "b", "c"]);
  assert.deepEqual(calls, ["open main", "query SELECT name", "drop rows"]);
});

test("rows are let go of when no more are asked for, and when one cannot be read", () => {
  answers.pages = [[row("a"), [{ tag: "null" }]]];
  const database = Database.open("main");
  assert.deepEqual(database.first(sql`SELECT name`, NAME), { name: "a" });
  assert.throws(() => [...database.query(sql`SELECT name`, NAME)], AdapterError);
  assert.deepEqual(calls.slice(1), ["query SELECT name", "drop rows", "query SELECT name", "drop rows"]);
});

test("a query without rows has no first one", () => {
  assert.equal(Database.open("main").first(sql`SELECT name`, NAME), undefined);
});

test("a transaction is committed once its work is done", () => {
  answers.changed = [3];
  const changed = Database.open("main").transaction((transaction) => transaction.execute(sql`UPDATE`));
  assert.equal(changed, 3);
  assert.deepEqual(calls.slice(1), ["begin", "execute UPDATE", "commit", "drop transaction"]);
});

test("a transaction whose work throws is dropped without a commit", () => {
  const failure = new Error("no");
  assert.throws(
    () =>
      Database.open("main").transaction(() => {
        throw failure;
      }),
    failure,
  );
  assert.deepEqual(calls.slice(1), ["begin", "drop transaction"]);
});

test("statements of a batch go to the host together, in the database's dialect", () => {
  answers.dialect = "postgresql";
  answers.changed = [1, 0];
  assert.deepEqual(Database.open("main").batch([sql`UPDATE ${1}`, sql`DELETE ${2}`]), [1, 0]);
  assert.deepEqual(calls.slice(1), ["batch UPDATE $1", "batch DELETE $1"]);
});

test("the database's errors become the contract's", () => {
  const tags: [DatabaseError["tag"], AdapterError["payload"]["tag"], RegExp][] = [
    ["busy", "unavailable", /^the database is busy: why$/],
    ["unavailable", "unavailable", /^the database is unavailable: why$/],
    ["denied", "invalid", /^the database is not granted: why$/],
    ["constraint", "other", /constraint: why$/],
    ["syntax", "other", /statement: why$/],
    ["other", "other", /failed: why$/],
  ];
  const database = Database.open("main");
  const asks = [
    () => database.execute(sql`UPDATE`),
    () => database.first(sql`SELECT`, NAME),
    () => database.batch([sql`UPDATE`]),
    () => database.transaction(() => 0),
    () => Database.open("main"),
  ];
  for (const [tag, expected, message] of tags) {
    answers.error = { tag, val: "why" };
    for (const ask of asks) {
      assert.throws(ask, (error) => {
        assert.ok(error instanceof AdapterError);
        assert.equal(error.payload.tag, expected);
        assert.match(String(error.payload.val), message);
        return true;
      });
    }
  }
});
