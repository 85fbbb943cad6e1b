/** Write an event hook for Agent Host: export what `defineHook` makes of it. */

export { Config } from "./config.js";
export { control, type Session } from "./control.js";
export { defineHook } from "./define.js";
export * from "./error.js";
export * from "./hook.js";
export type { Json } from "./json.js";
export { log } from "./log.js";
