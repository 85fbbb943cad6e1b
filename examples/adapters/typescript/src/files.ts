/** Workspace files: an index, and their contents as rows of bytes. */

import { type Database, type Files, noSuchFile, sql } from "./agent-host/index.js";
import { CHUNK, cut, endOf, join } from "./chunks.js";
import { holds, owned, write } from "./writes.js";

export function keepFiles(database: Database): Files {
  return {
    saveFile(epoch, session, file, content) {
      const { path, size, sha256, createdAt, modifiedAt, extra } = file;
      const saved = sql`SELECT id FROM files WHERE session = ${owned(epoch, session)} AND path = ${path}`;
      write(database, epoch, session, [
        sql`
          INSERT INTO files (session, path, size, sha256, created_at, modified_at, extra)
          SELECT id, ${path}, ${size}, ${sha256}, ${createdAt}, ${modifiedAt}, ${extra}
          FROM sessions WHERE ${holds(epoch, session)}
          ON CONFLICT (session, path) DO UPDATE SET size = excluded.size, sha256 = excluded.sha256,
            created_at = excluded.created_at, modified_at = excluded.modified_at, extra = excluded.extra`,
        sql`DELETE FROM file_chunks WHERE file = (${saved})`,
        ...cut(0, content).map(
          ({ start, data }) => sql`
            INSERT INTO file_chunks (file, start, data)
            SELECT id, ${start}, ${data} FROM files WHERE id = (${saved})`,
        ),
      ]);
    },

    readFile(session, path, offset, max) {
      const rows = database.query(
        sql`
          SELECT c.start, c.data FROM files f
          LEFT JOIN file_chunks c ON c.file = f.id AND c.start < ${endOf(offset, max)}
            AND c.start >= (SELECT MAX(b.start) FROM file_chunks b WHERE b.file = f.id AND b.start <= ${offset})
          WHERE f.session = ${session} AND f.path = ${path} ORDER BY c.start`,
        CHUNK,
      );
      const content = join(rows, offset, max);
      if (content === undefined) {
        throw noSuchFile(session, path);
      }
      return content;
    },

    deleteFile(epoch, session, path) {
      const deleted = sql`session = ${owned(epoch, session)} AND path = ${path}`;
      write(database, epoch, session, [
        sql`DELETE FROM file_chunks WHERE file = (SELECT id FROM files WHERE ${deleted})`,
        sql`DELETE FROM files WHERE ${deleted}`,
      ]);
    },
  };
}
