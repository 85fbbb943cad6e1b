/** A complete hook: it denies the tools that its configuration names, and says so in the conversation. */

import { name, version } from "../package.json";
import { allow, type Config, control, defineHook, deny, type Hook, invalid, log } from "./agent-host/index.js";

/** Denies uses of some tools. */
export function blocklist(config: Config): Hook {
  config.only("tools");
  const tools = config
    .require("tools")
    .split(",")
    .map((tool) => tool.trim());
  if (tools.includes("")) {
    // Such as a variable of the shell that is not set: nothing would be denied.
    throw invalid('the configuration key "tools" has an empty name');
  }

  return {
    name,
    version,
    deniesOnFailure: true,

    beforeToolUse({ session, tool }) {
      if (!tools.includes(tool)) {
        return allow;
      }
      log.info(`${tool} was denied in session ${session}`);
      control.note(session, `The agent wanted to use ${tool}, which is not allowed here.`);
      return deny(`${tool} is not allowed here`);
    },
  };
}

// An interface of the world is an export of this module, under the interface's own name.
export const eventHook = defineHook(blocklist);
