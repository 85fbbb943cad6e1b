import assert from "node:assert/strict";
import { test } from "node:test";

import {
  AdapterError,
  bytes,
  type Columns,
  integer,
  optional,
  Real,
  real,
  Row,
  text,
  toValue,
  unsigned,
  type Value,
} from "../src/agent-host/index.js";

const data = new Uint8Array([0, 255]);

/** What an error says of a value that is read as a column of another kind. */
function refusal(columns: Columns, ...values: Value[]): string {
  try {
    new Row(values).take(columns);
  } catch (error) {
    assert.ok(error instanceof AdapterError && error.payload.tag === "corrupt");
    return error.payload.val;
  }
  return assert.fail("it was read");
}

test("parameters are made from values of TypeScript", () => {
  assert.deepEqual(toValue("a"), { tag: "text", val: "a" });
  assert.deepEqual(toValue(""), { tag: "text", val: "" });
  assert.deepEqual(toValue(0), { tag: "integer", val: 0 });
  assert.deepEqual(toValue(2 ** 53 - 1), { tag: "integer", val: 2 ** 53 - 1 });
  assert.deepEqual(toValue(new Real(1)), { tag: "real", val: 1 });
  assert.deepEqual(toValue(data), { tag: "blob", val: data });
  assert.deepEqual(toValue(null), { tag: "null" });
  assert.deepEqual(toValue(undefined), { tag: "null" });
});

test("a number that the database would get another one for is refused", () => {
  for (const number of [0.5, Number.NaN, 2 ** 53, Number.NEGATIVE_INFINITY]) {
    assert.throws(() => toValue(number), RangeError);
  }
});

test("columns are read in their order, and further ones by further columns", () => {
  const row = new Row([
    { tag: "integer", val: 7 },
    { tag: "text", val: "x" },
    { tag: "null" },
    { tag: "blob", val: data },
    { tag: "real", val: 1 },
    { tag: "integer", val: -1 },
  ]);
  assert.deepEqual(row.take({ length: unsigned, name: optional(text) }), { length: 7, name: "x" });
  assert.deepEqual(row.take({ options: optional(text), data: bytes, share: real, remaining: integer }), {
    options: null,
    data,
    share: 1,
    remaining: -1,
  });
});

test("a column that holds something else is corrupt, and its contents are not told", () => {
  const holds = (what: string) =>
    `the column "length" holds ${what}, and not an integer that is not negative and below 2^53`;
  assert.equal(refusal({ length: unsigned }, { tag: "integer", val: -1 }), holds("the integer -1"));
  assert.equal(
    refusal({ length: unsigned }, { tag: "integer", val: 2 ** 60 }),
    holds("the integer 1152921504606847000"),
  );
  assert.equal(refusal({ length: unsigned }, { tag: "real", val: 1 }), holds("the real 1"));
  assert.equal(refusal({ length: unsigned }, { tag: "text", val: "secret" }), holds("text"));
  assert.equal(refusal({ length: unsigned }, { tag: "null" }), holds("null"));
  assert.equal(refusal({ length: unsigned }), holds("nothing at all"));
  assert.equal(
    refusal({ name: optional(text) }, { tag: "blob", val: data }),
    'the column "name" holds bytes, and not text, or nothing',
  );
});
