/** What tests of hooks have in common. */

import assert from "node:assert/strict";

import { HookError } from "../src/agent-host/index.js";

/** A question about a use of a tool, as the host asks it. */
export const use = (tool: string, input = "{}") => ({ session: "s", subagent: null, toolUseId: "u", tool, input });

/** Fails unless the call throws this error of the contract. */
export function refused(call: () => unknown, tag: HookError["payload"]["tag"], text: RegExp): void {
  assert.throws(call, (error) => {
    assert.ok(error instanceof HookError, `${String(error)} would be a trap`);
    assert.equal(error.payload.tag, tag);
    assert.match(String(error.payload.val), text);
    return true;
  });
}
