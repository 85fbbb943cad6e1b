/** Lets only errors of the contract out of the component. Whatever else is thrown would cost the instance its life. */

import { HookError, whileTrying } from "./error.js";
import { log } from "./log.js";

type Functions<Interface> = { [Name in keyof Interface]: (...parameters: never[]) => unknown };

/** What each function of an interface attempts, in the words of an error: "failed to …". */
export type Attempts<Interface extends Functions<Interface>> = {
  readonly [Name in keyof Interface]: (...parameters: Parameters<Interface[Name]>) => string;
};

/** The functions of an interface, which throw only errors of the contract that say what was being done. */
export function guard<Interface extends Functions<Interface>>(
  attempts: Attempts<Interface>,
  functions: Interface,
): Interface {
  const guarded = { ...functions };
  for (const name of Object.keys(functions) as (keyof Interface)[]) {
    guarded[name] = attempting(attempts[name], functions[name]) as Interface[keyof Interface];
  }
  return guarded;
}

function attempting<Arguments extends never[], Result>(
  attempt: (...parameters: Arguments) => string,
  work: (...parameters: Arguments) => Result,
): (...parameters: Arguments) => Result {
  return (...parameters) => {
    try {
      return work(...parameters);
    } catch (thrown) {
      const error = whileTrying(attempt(...parameters), thrown);
      if (thrown instanceof Error && !(thrown instanceof HookError)) {
        // Nobody foresaw it, and the host gets only its message. Whoever looks for the cause wants its place, too.
        log.error(`${error.message}\n${thrown.stack ?? ""}`);
      }
      throw error;
    }
  };
}
