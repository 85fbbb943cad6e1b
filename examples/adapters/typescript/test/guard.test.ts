import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";

import { AdapterError, invalid, staleEpoch } from "../src/agent-host/index.js";
import { guard } from "../src/agent-host/guard.js";
import { written } from "./host/logging.js";

interface Example {
  double(number: number): number;
  fail(thrown: unknown): void;
}

const example = guard<Example>(
  { double: (number) => `double ${number}`, fail: () => "fail" },
  {
    double: (number) => number * 2,
    fail(thrown) {
      throw thrown;
    },
  },
);

/** What a call throws, which must be an error of the contract. */
function thrownBy(call: () => void): AdapterError["payload"] {
  try {
    call();
  } catch (error) {
    assert.ok(error instanceof AdapterError, `${String(error)} would be a trap`);
    return error.payload;
  }
  return assert.fail("nothing was thrown");
}

beforeEach(() => {
  written.length = 0;
});

test("what a function gives goes through", () => {
  assert.equal(example.double(21), 42);
});

test("an error of the contract goes through, and is not logged", () => {
  assert.deepEqual(
    thrownBy(() => example.fail(staleEpoch(3))),
    { tag: "stale-epoch", val: 3 },
  );
  assert.deepEqual(
    thrownBy(() => example.fail(invalid("no"))),
    { tag: "invalid", val: "failed to fail: no" },
  );
  assert.deepEqual(written, []);
});

test("any other error is no trap, and the log has its place", () => {
  assert.deepEqual(
    thrownBy(() => example.fail(new RangeError("no"))),
    {
      tag: "other",
      val: "failed to fail: RangeError: no",
    },
  );
  assert.equal(written.length, 1);
  assert.equal(written[0]?.level, "error");
  assert.match(written[0]?.message ?? "", /failed to fail: RangeError: no\n[^]*guard\.test/);
});

test("what is no error is no trap either", () => {
  for (const thrown of ["text", undefined, null, 7, { payload: { tag: "no-such-case" } }]) {
    assert.equal(thrownBy(() => example.fail(thrown)).tag, "other");
  }
});
