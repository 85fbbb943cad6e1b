/**
 * A persistence adapter that keeps everything in tables of a database that the host grants: SQLite or PostgreSQL.
 *
 * Every write is one call into the host, a batch of statements that do nothing unless the session exists and the
 * write's epoch holds; the number of rows that each changed tells what happened. Only what a batch cannot tell (why
 * nothing happened, whether an append repeats what is stored) takes further calls. So a write costs what is new, and
 * never holds the database longer than it needs it.
 */

import { name, version } from "../package.json";
import { Database, exportAdapter } from "./agent-host/index.js";
import { keepFiles } from "./files.js";
import { keepLeases } from "./leases.js";
import { keepProfiles } from "./profiles.js";
import { checkSchema, migrate } from "./schema.js";
import { keepSessions } from "./sessions.js";
import { keepStreams } from "./streams.js";

/** The configuration key that names the granted database. */
const DATABASE_KEY = "database";

/** The granted database, if the configuration names none. */
const DEFAULT_DATABASE = "main";

// Each interface of the world is an export of this module, under the interface's own name.
export const { lifecycle, sessions, streams, files, profiles, leases } = exportAdapter((config) => {
  config.only(DATABASE_KEY);
  const database = Database.open(config.get(DATABASE_KEY) ?? DEFAULT_DATABASE);
  migrate(database);
  return {
    // Everything is in the database, so any number of instances may run at once.
    info: { name, version, concurrency: "pooled" },
    health: () => checkSchema(database),
    sessions: keepSessions(database),
    streams: keepStreams(database),
    files: keepFiles(database),
    profiles: keepProfiles(database),
    leases: keepLeases(database),
  };
});
