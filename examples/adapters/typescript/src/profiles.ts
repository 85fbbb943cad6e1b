/** Agent profiles, as the documents that they are. */

import { type Database, optional, type Profiles, sql, text } from "./agent-host/index.js";

const SUMMARY = { id: text, name: text, description: optional(text) };

export function keepProfiles(database: Database): Profiles {
  return {
    listProfiles: () => [...database.query(sql`SELECT id, name, description FROM profiles ORDER BY id`, SUMMARY)],

    loadProfile: (id) =>
      database.first(sql`SELECT document FROM profiles WHERE id = ${id}`, { document: text })?.document,

    saveProfile({ id, name, description }, document) {
      database.execute(sql`
        INSERT INTO profiles (id, name, description, document) VALUES (${id}, ${name}, ${description}, ${document})
        ON CONFLICT (id) DO UPDATE
        SET name = excluded.name, description = excluded.description, document = excluded.document`);
    },

    deleteProfile(id) {
      database.execute(sql`DELETE FROM profiles WHERE id = ${id}`);
    },
  };
}
