/** The plumbing between the component's exports and a hook: the instance, JSON, the context of errors. */

import { Config } from "./config.js";
import type { EventHook } from "./contract.js";
import { invalid, quote } from "./error.js";
import { guard } from "./guard.js";
import { allow, type Hook, type Verdict } from "./hook.js";
import { fromJson, toJson } from "./json.js";

/** Makes the component's export out of a hook, which `open` makes once in each instance. */
export function defineHook(open: (config: Config) => Hook): EventHook {
  let instance: Hook | undefined;

  function hook(): Hook {
    if (instance === undefined) {
      throw invalid("the hook was called before `open`");
    }
    return instance;
  }

  return guard<EventHook>(
    {
      open: () => "open the hook",
      onEvents: (events) => `take ${events.length} events`,
      beforeSession: () => "decide on a new session",
      beforeMessage: ({ session, id }) => `decide on message ${quote(id)} of session ${quote(session)}`,
      beforeToolUse: ({ session, tool }) => `decide on a use of ${quote(tool)} in session ${quote(session)}`,
    },
    {
      open(config) {
        if (instance !== undefined) {
          throw invalid("it is already open");
        }
        const opened = open(new Config(config));
        const info = toInfo(opened);
        instance = opened;
        return info;
      },
      onEvents(events) {
        atOnce(hook().onEvents?.(events.map((event) => ({ ...event, data: fromJson(event.data) }))));
      },
      beforeSession(draft) {
        const mine = hook();
        const parsed = { ...draft, name: draft.name ?? undefined, options: fromJson(draft.options) };
        return toVerdict(mine.beforeSession === undefined ? allow : mine.beforeSession(parsed));
      },
      beforeMessage(draft) {
        const mine = hook();
        const parsed = { ...draft, content: fromJson(draft.content) };
        return toVerdict(mine.beforeMessage === undefined ? allow : mine.beforeMessage(parsed));
      },
      beforeToolUse(draft) {
        const mine = hook();
        const parsed = { ...draft, subagent: draft.subagent ?? undefined, input: fromJson(draft.input) };
        return toVerdict(mine.beforeToolUse === undefined ? allow : mine.beforeToolUse(parsed));
      },
    },
  );
}

/** What the hook says of itself. It wants what it has functions for. */
function toInfo(hook: Hook): ReturnType<EventHook["open"]> {
  const events = hook.events ?? [];
  if ((hook.onEvents !== undefined) !== events.length > 0) {
    throw invalid("`events` and `onEvents` go together: the names, and what is done");
  }
  return {
    name: hook.name.toWellFormed(),
    version: hook.version.toWellFormed(),
    events: events.map((event) => event.toWellFormed()),
    decisions: {
      beforeSession: hook.beforeSession !== undefined,
      beforeMessage: hook.beforeMessage !== undefined,
      beforeToolUse: hook.beforeToolUse !== undefined,
    },
    onFailure: hook.deniesOnFailure === true ? "deny" : "allow",
  };
}

/** What a function gave, which must not be a promise: nothing would go on with what comes behind the first `await`. */
function atOnce<Result>(result: Result): Result {
  if (result instanceof Promise) {
    throw new TypeError("a function of a hook cannot be `async`: what it calls answers at once");
  }
  return result;
}

/** The verdict as the host takes it. One that is none would be a trap. */
function toVerdict(verdict: Verdict): ReturnType<EventHook["beforeSession"]> {
  atOnce(verdict);
  switch (verdict.tag) {
    case "allow":
      return { tag: "allow" };
    case "replace":
      return { tag: "replace", val: toJson(verdict.val) };
    case "deny":
      return { tag: "deny", val: verdict.val.toWellFormed() };
    default:
      throw new TypeError(`${toJson(verdict)} is no verdict`);
  }
}
