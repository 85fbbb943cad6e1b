import assert from "node:assert/strict";
import { test } from "node:test";

import { raw, sql } from "../src/agent-host/index.js";

test("each database gets its own placeholders", () => {
  const statement = sql`SELECT ${"a"}, ${1} FROM t`;
  const params = [
    { tag: "text", val: "a" },
    { tag: "integer", val: 1 },
  ];
  assert.deepEqual(statement.statement("sqlite"), { sql: "SELECT ?1, ?2 FROM t", params });
  assert.deepEqual(statement.statement("postgresql"), { sql: "SELECT $1, $2 FROM t", params });
});

test("a value is never a part of the text", () => {
  const { sql: text, params } = sql`SELECT ${"'; DROP TABLE t; -- ?9 $9"}`.statement("sqlite");
  assert.equal(text, "SELECT ?1");
  assert.equal(params.length, 1);
});

test("SQL within SQL brings its parameters along, in their places", () => {
  const inner = sql`x = ${2} AND y = ${3}`;
  const outer = sql`SELECT ${1} WHERE ${inner} OR (${inner}) ${sql``}AND z = ${4}${raw(" LIMIT 1")}`;
  assert.deepEqual(outer.statement("postgresql"), {
    sql: "SELECT $1 WHERE x = $2 AND y = $3 OR (x = $4 AND y = $5) AND z = $6 LIMIT 1",
    params: [1, 2, 3, 2, 3, 4].map((val) => ({ tag: "integer", val })),
  });
});

test("SQL may begin and end with parameters, and have none", () => {
  assert.equal(sql`${1}${2}`.statement("sqlite").sql, "?1?2");
  assert.deepEqual(sql`SELECT 1`.statement("sqlite"), { sql: "SELECT 1", params: [] });
  assert.deepEqual(sql`${sql`${sql`${raw("x")}`}`}`.statement("sqlite"), { sql: "x", params: [] });
});
