/** The host's log. */

import { type Level, log as write } from "wasi:logging/logging@0.1.0-draft";

/** What the log calls the part of the component that speaks. */
const CONTEXT = "hook";

const at =
  (level: Level) =>
  (message: string): void =>
    write(level, CONTEXT, message.toWellFormed());

export const log = { debug: at("debug"), info: at("info"), warn: at("warn"), error: at("error") };
