#include "sessions.h"

#include "cursor.h"
#include "shim/failure.h"
#include "shim/memory.h"

struct batch session_claim(uint64_t epoch, text_t session)
{
    struct batch batch = {0};
    batch_add(&batch, CLAIM_SESSION, VALUES(sql_text(session), sql_number(epoch)));
    return batch;
}

bool session_write(struct batch *batch, uint64_t epoch, text_t session)
{
    adapter_list_u64_t changed;
    if (!database_run(batch, &changed))
        return false;
    return changed.ptr[0] == 1 || session_refuse(epoch, session);
}

bool session_is_missing(text_t session)
{
    return fail(TYPES_ERROR_NOT_FOUND, "there is no session %s", quoted(session));
}

// The epoch that the session has.
static bool stored_epoch(text_t session, bool *is_there, uint64_t *epoch)
{
    struct row row;
    if (!database_query("SELECT epoch FROM agent_sessions WHERE id = ?1", VALUES(sql_text(session))))
        return false;
    *is_there = database_next(&row);
    if (*is_there)
        *epoch = row_number(&row, "epoch");
    return !has_failed();
}

bool session_refuse(uint64_t epoch, text_t session)
{
    bool is_there;
    uint64_t stored;
    if (!stored_epoch(session, &is_there, &stored))
        return false;
    if (!is_there)
        return session_is_missing(session);
    if (epoch < stored)
        return fail_stale_epoch(stored);
    return fail(TYPES_ERROR_UNAVAILABLE, "the session was created at this moment");
}

bool session_create(uint64_t epoch, const types_session_record_t *session)
{
    uint64_t created;
    if (!database_execute("INSERT INTO agent_sessions"
                          " (id, epoch, created_at, last_activity, profile, architecture, name, options, extra)"
                          " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)"
                          " ON CONFLICT (id) DO NOTHING",
                          VALUES(sql_text(session->id), sql_number(epoch), sql_number(session->created_at), sql_number(session->last_activity),
                                 sql_text(session->profile), sql_text(session->architecture), SQL_OPTIONAL_TEXT(session->name),
                                 SQL_OPTIONAL_TEXT(session->options), SQL_OPTIONAL_TEXT(session->extra)),
                          &created))
        return false;
    return created == 1 || fail(TYPES_ERROR_ALREADY_EXISTS, "there is already a session %s", quoted(session->id));
}

// The columns of a record behind its id.
static types_session_record_t take_record(text_t id, struct row *row)
{
    types_session_record_t record = {.id = id};
    record.created_at = row_number(row, "created_at");
    record.last_activity = row_number(row, "last_activity");
    record.profile = row_text(row, "profile");
    record.architecture = row_text(row, "architecture");
    record.name = row_optional_text(row, "name");
    record.options = row_optional_json(row, "options");
    record.extra = row_optional_json(row, "extra");
    return record;
}

static types_stream_info_t take_stream(struct row *row)
{
    types_stream_info_t stream = {.length = row_number(row, "length")};
    row_skip(row, 2);
    stream.name = row_text(row, "name");
    return stream;
}

static types_file_info_t take_file(struct row *row)
{
    types_file_info_t file = {.size = row_number(row, "size")};
    file.created_at = row_number(row, "created_at");
    file.modified_at = row_number(row, "modified_at");
    file.path = row_text(row, "path");
    file.sha256 = row_text(row, "sha256");
    file.extra = row_optional_json(row, "extra");
    return file;
}

enum { SESSION_ROW, STREAM_ROW, FILE_ROW };

bool session_load(text_t id, exports_sessions_option_snapshot_t *snapshot)
{
    *snapshot = (exports_sessions_option_snapshot_t){.is_some = false};
    // One query, so that all of it is the picture of one moment. Its rows are of three kinds.
    if (!database_query("SELECT 0, epoch, created_at, last_activity, profile, architecture, name, options, extra"
                        " FROM agent_sessions WHERE id = ?1"
                        " UNION ALL"
                        " SELECT 1, length, NULL, NULL, name, NULL, NULL, NULL, NULL"
                        " FROM agent_streams WHERE session = ?1"
                        " UNION ALL"
                        " SELECT 2, size, created_at, modified_at, path, sha256, extra, NULL, NULL"
                        " FROM agent_files WHERE session = ?1",
                        VALUES(sql_text(id))))
        return false;
    types_snapshot_t *found = &snapshot->val;
    struct row row;
    while (database_next(&row)) {
        switch (row_number(&row, "kind")) {
        case SESSION_ROW:
            snapshot->is_some = true;
            found->epoch = row_number(&row, "epoch");
            found->session = take_record(id, &row);
            break;
        case STREAM_ROW:
            PUSH(&found->streams, take_stream(&row));
            break;
        case FILE_ROW:
            PUSH(&found->files, take_file(&row));
            break;
        }
    }
    return !has_failed();
}

bool session_update(uint64_t epoch, text_t id, const types_session_changes_t *changes)
{
    uint64_t updated;
    if (!database_execute("UPDATE agent_sessions SET epoch = ?2, last_activity = COALESCE(?3, last_activity), name = COALESCE(?4, name),"
                          " options = COALESCE(?5, options), extra = COALESCE(?6, extra)"
                          " WHERE id = ?1 AND epoch <= ?2",
                          VALUES(sql_text(id), sql_number(epoch), sql_optional_number(changes->last_activity), SQL_OPTIONAL_TEXT(changes->name),
                                 SQL_OPTIONAL_TEXT(changes->options), SQL_OPTIONAL_TEXT(changes->extra)),
                          &updated))
        return false;
    return updated == 1 || session_refuse(epoch, id);
}

bool session_delete(uint64_t epoch, text_t id)
{
    uint64_t deleted;
    if (!database_execute("DELETE FROM agent_sessions WHERE id = ?1 AND epoch <= ?2", VALUES(sql_text(id), sql_number(epoch)), &deleted))
        return false;
    if (deleted == 1)
        return true;
    bool is_there;
    uint64_t stored;
    if (!stored_epoch(id, &is_there, &stored))
        return false;
    return !is_there || session_refuse(epoch, id);
}

// The rows of one query of a listing. Records may have large options: so many of a megabyte are within the 64 MiB that the host holds for one query.
enum { LIST_ROWS = 60 };

// The bytes of names, options and extras after which a page ends, however short it is: what a component's memory can easily hold.
enum { LIST_BYTES = 4 * 1024 * 1024 };

static size_t bytes_of(const types_session_record_t *session)
{
    return (session->name.is_some ? session->name.val.len : 0) + (session->options.is_some ? session->options.val.len : 0)
           + (session->extra.is_some ? session->extra.val.len : 0);
}

// Adds the sessions behind a place to the page, until it is full or `asked` were added.
static bool list_behind(struct cursor *place, size_t asked, size_t limit, size_t *bytes, types_page_t *page)
{
    if (!database_query("SELECT id, created_at, last_activity, profile, architecture, name, options, extra FROM agent_sessions"
                        " WHERE (created_at, id) < (?1, ?2) ORDER BY created_at DESC, id DESC LIMIT ?3",
                        VALUES(sql_number(place->created_at), sql_text(place->id), sql_number(asked))))
        return false;
    struct row row;
    while (database_next(&row)) {
        if (page->sessions.len == limit || *bytes >= LIST_BYTES) {
            page->next = (adapter_option_string_t){.is_some = true, .val = cursor_text(*place)};
            return true;
        }
        text_t id = row_text(&row, "id");
        types_session_record_t session = take_record(id, &row);
        *place = (struct cursor){.created_at = session.created_at, .id = session.id};
        *bytes += bytes_of(&session);
        PUSH(&page->sessions, session);
    }
    return !has_failed();
}

bool session_list(const text_t *cursor, uint32_t limit, types_page_t *page)
{
    *page = (types_page_t){.next.is_some = false};
    struct cursor place = cursor_first();
    if (cursor != NULL && !cursor_read(*cursor, &place))
        return false;
    size_t bytes = 0;
    for (;;) {
        // One more than there is room for tells whether there is a further page.
        size_t room = limit - page->sessions.len;
        size_t asked = room < LIST_ROWS ? room + 1 : LIST_ROWS;
        size_t before = page->sessions.len;
        if (!list_behind(&place, asked, limit, &bytes, page))
            return false;
        if (page->next.is_some || page->sessions.len - before < asked)
            return true;
    }
}
