#include "streams.h"

#include <string.h>

#include "chunk.h"
#include "sessions.h"
#include "shim/database.h"
#include "shim/failure.h"

// The append that nearly all are, by one call into the host: the session has this epoch already, and the stream ends at `offset`. Where that is not
// so, nothing was changed, and `is_done` says it.
static bool append_at_end(uint64_t epoch, struct stream stream, uint64_t offset, adapter_list_u8_t data, bool *is_done)
{
    struct batch batch = {0};
    if (database_writes_at_once()) {
        // Changes nothing, and until the batch has ended nobody else can take the session over or append.
        batch_add(&batch, "UPDATE agent_sessions SET epoch = epoch WHERE id = ?1 AND epoch = ?2",
                  VALUES(sql_text(stream.session), sql_number(epoch)));
    }
    for (size_t at = 0; at < data.len; at += CHUNK_BYTES) {
        batch_add(&batch,
                  "INSERT INTO agent_stream_chunks (session, stream, start, data)"
                  " SELECT session, name, ?5, ?6 FROM agent_streams"
                  " WHERE session = ?1 AND name = ?3 AND length = ?4 AND " IS_CLAIMED,
                  VALUES(sql_text(stream.session), sql_number(epoch), sql_text(stream.name), sql_number(offset), sql_number(offset + at),
                         sql_bytes(bytes_slice(data, at, CHUNK_BYTES))));
    }
    batch_add(&batch, "UPDATE agent_streams SET length = ?5 WHERE session = ?1 AND name = ?3 AND length = ?4 AND " IS_CLAIMED,
              VALUES(sql_text(stream.session), sql_number(epoch), sql_text(stream.name), sql_number(offset), sql_number(offset + data.len)));
    adapter_list_u64_t changed;
    if (!database_run(&batch, &changed))
        return false;
    *is_done = changed.ptr[changed.len - 1] == 1;
    return true;
}

static bool stored_length(struct stream stream, uint64_t *length)
{
    struct row row;
    if (!database_query("SELECT length FROM agent_streams WHERE session = ?1 AND name = ?2", VALUES(sql_text(stream.session), sql_text(stream.name))))
        return false;
    *length = database_next(&row) ? row_number(&row, "length") : 0;
    return !has_failed();
}

// The rows that hold the bytes from `offset`, at most `max`; a row of nulls if there are none, no row if there is no such session.
static bool query_chunks(struct stream stream, uint64_t offset, uint64_t max)
{
    return database_query("SELECT c.start, c.data FROM agent_sessions s"
                          " LEFT JOIN agent_stream_chunks c ON c.session = s.id AND c.stream = ?2 AND c.start < ?4 AND c.start >="
                          " (SELECT MAX(b.start) FROM agent_stream_chunks b WHERE b.session = ?1 AND b.stream = ?2 AND b.start <= ?3)"
                          " WHERE s.id = ?1 ORDER BY c.start",
                          VALUES(sql_text(stream.session), sql_text(stream.name), sql_number(offset), sql_number(offset + max)));
}

// The bytes that are compared at once: what the host gives in one page of rows.
enum { COMPARED_BYTES = 1024 * 1024 };

// Whether the stream has these bytes at `offset`.
static bool has_bytes(struct stream stream, uint64_t offset, adapter_list_u8_t expected, bool *is_same)
{
    *is_same = true;
    for (size_t at = 0; at < expected.len && *is_same; at += COMPARED_BYTES) {
        adapter_list_u8_t piece = bytes_slice(expected, at, COMPARED_BYTES);
        adapter_list_u8_t stored;
        bool is_there;
        if (!(query_chunks(stream, offset + at, piece.len) && chunks_collect(offset + at, piece.len, &is_there, &stored)))
            return false;
        *is_same = stored.len == piece.len && memcmp(stored.ptr, piece.ptr, piece.len) == 0;
    }
    return true;
}

static bool set_length(struct stream stream, uint64_t length)
{
    uint64_t changed;
    return database_execute("INSERT INTO agent_streams (session, name, length) VALUES (?1, ?2, ?3)"
                            " ON CONFLICT (session, name) DO UPDATE SET length = excluded.length",
                            VALUES(sql_text(stream.session), sql_text(stream.name), sql_number(length)), &changed);
}

static bool add_chunks(struct stream stream, uint64_t offset, adapter_list_u8_t data)
{
    uint64_t changed;
    for (size_t at = 0; at < data.len; at += CHUNK_BYTES) {
        if (!database_execute(
                "INSERT INTO agent_stream_chunks (session, stream, start, data) VALUES (?1, ?2, ?3, ?4)",
                VALUES(sql_text(stream.session), sql_text(stream.name), sql_number(offset + at), sql_bytes(bytes_slice(data, at, CHUNK_BYTES))),
                &changed))
            return false;
    }
    return true;
}

// Any append: the first of a stream or of an epoch, one that repeats what is stored, one that is refused. What is refused is rolled back, with the
// epoch that was claimed for it.
static bool append_with_care(uint64_t epoch, struct stream stream, uint64_t offset, adapter_list_u8_t data, uint64_t *length)
{
    uint64_t claimed;
    if (!(database_begin() && database_execute(CLAIM_SESSION, VALUES(sql_text(stream.session), sql_number(epoch)), &claimed)))
        return false;
    if (claimed == 0)
        return session_refuse(epoch, stream.session);
    uint64_t stored;
    if (!stored_length(stream, &stored))
        return false;
    if (offset > stored)
        return fail_offset_mismatch(stored);
    uint64_t behind = stored - offset;
    adapter_list_u8_t expected = bytes_slice(data, 0, behind < data.len ? (size_t)behind : data.len);
    bool is_same;
    if (!has_bytes(stream, offset, expected, &is_same))
        return false;
    if (!is_same)
        return fail_offset_mismatch(stored);
    adapter_list_u8_t added = bytes_slice(data, expected.len, data.len);
    *length = stored + added.len;
    return (added.len == 0 || (set_length(stream, *length) && add_chunks(stream, stored, added))) && database_commit();
}

bool stream_append(uint64_t epoch, struct stream stream, uint64_t offset, adapter_list_u8_t data, uint64_t *length)
{
    bool is_done;
    *length = offset + data.len;
    return append_at_end(epoch, stream, offset, data, &is_done) && (is_done || append_with_care(epoch, stream, offset, data, length));
}

bool stream_read(struct stream stream, uint64_t offset, uint32_t max, adapter_list_u8_t *content)
{
    bool is_there;
    return query_chunks(stream, offset, max) && chunks_collect(offset, max, &is_there, content) && (is_there || session_is_missing(stream.session));
}

bool stream_replace(uint64_t epoch, struct stream stream, adapter_list_u8_t data, uint64_t *length)
{
    *length = data.len;
    struct batch batch = session_claim(epoch, stream.session);
    batch_add(&batch, "DELETE FROM agent_streams WHERE session = ?1 AND name = ?3 AND " IS_CLAIMED,
              VALUES(sql_text(stream.session), sql_number(epoch), sql_text(stream.name)));
    batch_add(&batch,
              "INSERT INTO agent_streams (session, name, length)"
              " SELECT id, ?3, ?4 FROM agent_sessions WHERE id = ?1 AND epoch = ?2",
              VALUES(sql_text(stream.session), sql_number(epoch), sql_text(stream.name), sql_number(data.len)));
    for (size_t at = 0; at < data.len; at += CHUNK_BYTES) {
        batch_add(&batch,
                  "INSERT INTO agent_stream_chunks (session, stream, start, data)"
                  " SELECT id, ?3, ?4, ?5 FROM agent_sessions WHERE id = ?1 AND epoch = ?2",
                  VALUES(sql_text(stream.session), sql_number(epoch), sql_text(stream.name), sql_number(at),
                         sql_bytes(bytes_slice(data, at, CHUNK_BYTES))));
    }
    return session_write(&batch, epoch, stream.session);
}
