#include "files.h"

#include "chunk.h"
#include "sessions.h"
#include "shim/failure.h"

static void add_delete(struct batch *batch, uint64_t epoch, text_t session, text_t path)
{
    batch_add(batch, "DELETE FROM agent_files WHERE session = ?1 AND path = ?3 AND " IS_CLAIMED,
              VALUES(sql_text(session), sql_number(epoch), sql_text(path)));
}

bool file_save(uint64_t epoch, text_t session, const types_file_info_t *file, adapter_list_u8_t content)
{
    struct batch batch = session_claim(epoch, session);
    add_delete(&batch, epoch, session, file->path);
    batch_add(&batch,
              "INSERT INTO agent_files (session, path, size, sha256, created_at, modified_at, extra)"
              " SELECT id, ?3, ?4, ?5, ?6, ?7, ?8 FROM agent_sessions WHERE id = ?1 AND epoch = ?2",
              VALUES(sql_text(session), sql_number(epoch), sql_text(file->path), sql_number(file->size), sql_text(file->sha256),
                     sql_number(file->created_at), sql_number(file->modified_at), SQL_OPTIONAL_TEXT(file->extra)));
    for (size_t at = 0; at < content.len; at += CHUNK_BYTES) {
        batch_add(
            &batch,
            "INSERT INTO agent_file_chunks (session, path, start, data)"
            " SELECT id, ?3, ?4, ?5 FROM agent_sessions WHERE id = ?1 AND epoch = ?2",
            VALUES(sql_text(session), sql_number(epoch), sql_text(file->path), sql_number(at), sql_bytes(bytes_slice(content, at, CHUNK_BYTES))));
    }
    return session_write(&batch, epoch, session);
}

bool file_read(text_t session, text_t path, uint64_t offset, uint32_t max, adapter_list_u8_t *content)
{
    bool is_there;
    if (!(database_query("SELECT c.start, c.data FROM agent_files f"
                         " LEFT JOIN agent_file_chunks c ON c.session = f.session AND c.path = f.path AND c.start < ?4 AND c.start >="
                         " (SELECT MAX(b.start) FROM agent_file_chunks b WHERE b.session = ?1 AND b.path = ?2 AND b.start <= ?3)"
                         " WHERE f.session = ?1 AND f.path = ?2 ORDER BY c.start",
                         VALUES(sql_text(session), sql_text(path), sql_number(offset), sql_number(offset + max)))
          && chunks_collect(offset, max, &is_there, content)))
        return false;
    return is_there || fail(TYPES_ERROR_NOT_FOUND, "session %s has no file %s", quoted(session), quoted(path));
}

bool file_delete(uint64_t epoch, text_t session, text_t path)
{
    struct batch batch = session_claim(epoch, session);
    add_delete(&batch, epoch, session, path);
    return session_write(&batch, epoch, session);
}
