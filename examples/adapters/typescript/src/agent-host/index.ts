/** Write a persistence adapter for Agent Host: implement `Adapter`, and export what `exportAdapter` makes of it. */

export type { Adapter } from "./adapter.js";
export { planAppend } from "./append.js";
export { Config } from "./config.js";
export type * from "./contract.js";
export { fromCursor, type Place, toCursor } from "./cursor.js";
export { Database, Executor } from "./database.js";
export * from "./error.js";
export { exportAdapter } from "./export.js";
export { MAX_READ_BYTES } from "./limits.js";
export { log } from "./log.js";
export { raw, Sql, sql } from "./sql.js";
export * from "./values.js";
