// The functions of the contract, as wit-bindgen wants them: each checks its arguments, lets a module do the work, and says in its error what was
// being done, to what.

#include "adapter.h"
#include "files.h"
#include "leases.h"
#include "profiles.h"
#include "schema.h"
#include "sessions.h"
#include "shim/check.h"
#include "shim/database.h"
#include "shim/failure.h"
#include "shim/memory.h"
#include "streams.h"

// The configuration key that names the granted database, and the database if there is none.
#define DATABASE_KEY "database"
#define DEFAULT_DATABASE "main"

static bool is_open;

static bool begin_call(void)
{
    memory_begin_call();
    return is_open || fail(TYPES_ERROR_INVALID, "the adapter was called before `open`");
}

static void end_call(void)
{
    database_end_call();
    memory_end_call();
}

static bool succeed(void)
{
    end_call();
    return true;
}

static bool give_up(types_error_t *error, const char *doing, ...) __attribute__((format(printf, 2, 3)));

static bool give_up(types_error_t *error, const char *doing, ...)
{
    va_list strings;
    va_start(strings, doing);
    *error = failure_take(text_format_list(doing, strings));
    va_end(strings);
    end_call();
    return false;
}

static bool read_config(const adapter_list_tuple2_string_string_t *config, text_t *name)
{
    *name = TEXT(DEFAULT_DATABASE);
    for (size_t at = 0; at < config->len; at++) {
        if (!text_is(config->ptr[at].f0, TEXT(DATABASE_KEY)))
            return fail(TYPES_ERROR_INVALID, "unknown configuration key %s; there is only \"" DATABASE_KEY "\"", quoted(config->ptr[at].f0));
        *name = config->ptr[at].f1;
    }
    return true;
}

bool exports_lifecycle_open(adapter_list_tuple2_string_string_t *config, exports_lifecycle_adapter_info_t *info, types_error_t *error)
{
    text_t name;
    memory_begin_call();
    if (is_open) {
        fail(TYPES_ERROR_INVALID, "it is open already");
        return give_up(error, "open the adapter");
    }
    is_open = read_config(config, &name) && database_open(name) && schema_migrate();
    *info = (exports_lifecycle_adapter_info_t){
        .name = TEXT("sessions-c"),
        .version = TEXT("1.0.0"),
        .concurrency = EXPORTS_LIFECYCLE_CONCURRENCY_POOLED,
    };
    return is_open ? succeed() : give_up(error, "open the adapter");
}

bool exports_lifecycle_health(types_error_t *error)
{
    bool is_done = begin_call() && schema_check();
    return is_done ? succeed() : give_up(error, "check the store");
}

bool exports_sessions_create_session(uint64_t epoch, types_session_record_t *session, types_error_t *error)
{
    bool is_done = begin_call() && check_number("epoch", epoch) && check_session_id(session->id) && check_number("time", session->created_at)
                   && check_number("time", session->last_activity) && session_create(epoch, session);
    return is_done ? succeed() : give_up(error, "create session %s", quoted(session->id));
}

bool exports_sessions_load_session(text_t *id, exports_sessions_option_snapshot_t *snapshot, types_error_t *error)
{
    bool is_done = begin_call() && session_load(*id, snapshot);
    return is_done ? succeed() : give_up(error, "load session %s", quoted(*id));
}

bool exports_sessions_update_session(uint64_t epoch, text_t *id, types_session_changes_t *changes, types_error_t *error)
{
    bool is_done = begin_call() && check_number("epoch", epoch)
                   && (!changes->last_activity.is_some || check_number("time", changes->last_activity.val)) && session_update(epoch, *id, changes);
    return is_done ? succeed() : give_up(error, "update session %s", quoted(*id));
}

bool exports_sessions_delete_session(uint64_t epoch, text_t *id, types_error_t *error)
{
    bool is_done = begin_call() && check_number("epoch", epoch) && session_delete(epoch, *id);
    return is_done ? succeed() : give_up(error, "delete session %s", quoted(*id));
}

bool exports_sessions_list_sessions(text_t *cursor, uint32_t limit, types_page_t *page, types_error_t *error)
{
    bool is_done = begin_call() && check_limit(limit) && session_list(cursor, limit, page);
    return is_done ? succeed() : give_up(error, "list sessions");
}

bool exports_streams_append(uint64_t epoch, text_t *session, text_t *stream, uint64_t offset, adapter_list_u8_t *data, uint64_t *length,
                            types_error_t *error)
{
    bool is_done = begin_call() && check_number("epoch", epoch) && check_number("offset", offset)
                   && stream_append(epoch, (struct stream){*session, *stream}, offset, *data, length);
    return is_done ? succeed()
                   : give_up(error, "append %s bytes at %s to stream %s of session %s", decimal(data->len), decimal(offset), quoted(*stream),
                             quoted(*session));
}

bool exports_streams_read(text_t *session, text_t *stream, uint64_t offset, uint32_t max, adapter_list_u8_t *content, types_error_t *error)
{
    bool is_done = begin_call() && check_read(offset, max) && stream_read((struct stream){*session, *stream}, offset, max, content);
    return is_done
               ? succeed()
               : give_up(error, "read %s bytes at %s of stream %s of session %s", decimal(max), decimal(offset), quoted(*stream), quoted(*session));
}

bool exports_streams_replace(uint64_t epoch, text_t *session, text_t *stream, adapter_list_u8_t *data, uint64_t *length, types_error_t *error)
{
    bool is_done = begin_call() && check_number("epoch", epoch) && stream_replace(epoch, (struct stream){*session, *stream}, *data, length);
    return is_done ? succeed() : give_up(error, "replace stream %s of session %s by %s bytes", quoted(*stream), quoted(*session), decimal(data->len));
}

bool exports_files_save_file(uint64_t epoch, text_t *session, types_file_info_t *file, adapter_list_u8_t *content, types_error_t *error)
{
    bool is_done = begin_call() && check_number("epoch", epoch) && check_number("size", file->size) && check_number("time", file->created_at)
                   && check_number("time", file->modified_at) && file_save(epoch, *session, file, *content);
    return is_done ? succeed() : give_up(error, "save file %s of session %s", quoted(file->path), quoted(*session));
}

bool exports_files_read_file(text_t *session, text_t *path, uint64_t offset, uint32_t max, adapter_list_u8_t *content, types_error_t *error)
{
    bool is_done = begin_call() && check_read(offset, max) && file_read(*session, *path, offset, max, content);
    return is_done ? succeed()
                   : give_up(error, "read %s bytes at %s of file %s of session %s", decimal(max), decimal(offset), quoted(*path), quoted(*session));
}

bool exports_files_delete_file(uint64_t epoch, text_t *session, text_t *path, types_error_t *error)
{
    bool is_done = begin_call() && check_number("epoch", epoch) && file_delete(epoch, *session, *path);
    return is_done ? succeed() : give_up(error, "delete file %s of session %s", quoted(*path), quoted(*session));
}

bool exports_profiles_list_profiles(exports_profiles_list_profile_summary_t *profiles, types_error_t *error)
{
    bool is_done = begin_call() && profile_list(profiles);
    return is_done ? succeed() : give_up(error, "list profiles");
}

bool exports_profiles_load_profile(text_t *id, exports_profiles_option_json_t *document, types_error_t *error)
{
    bool is_done = begin_call() && profile_load(*id, document);
    return is_done ? succeed() : give_up(error, "load profile %s", quoted(*id));
}

bool exports_profiles_save_profile(types_profile_summary_t *profile, text_t *document, types_error_t *error)
{
    bool is_done = begin_call() && profile_save(profile, *document);
    return is_done ? succeed() : give_up(error, "save profile %s", quoted(profile->id));
}

bool exports_profiles_delete_profile(text_t *id, types_error_t *error)
{
    bool is_done = begin_call() && profile_delete(*id);
    return is_done ? succeed() : give_up(error, "delete profile %s", quoted(*id));
}

bool exports_leases_acquire(text_t *session, exports_leases_owner_t *owner, uint64_t ttl, exports_leases_lease_t *lease, types_error_t *error)
{
    bool is_done = begin_call() && check_ttl(ttl) && lease_acquire(*session, owner, ttl, lease);
    return is_done ? succeed() : give_up(error, "acquire the lease of session %s", quoted(*session));
}

bool exports_leases_renew(text_t *owner, uint64_t ttl, exports_leases_list_session_id_t *sessions, exports_leases_list_session_id_t *lost,
                          types_error_t *error)
{
    bool is_done = begin_call() && check_ttl(ttl) && check_renewals(sessions->len) && lease_renew(*owner, ttl, sessions, lost);
    return is_done ? succeed() : give_up(error, "renew the leases of %s sessions", decimal(sessions->len));
}

bool exports_leases_release(text_t *session, text_t *owner, types_error_t *error)
{
    bool is_done = begin_call() && lease_release(*session, *owner);
    return is_done ? succeed() : give_up(error, "release the lease of session %s", quoted(*session));
}

bool exports_leases_get(text_t *session, exports_leases_option_lease_t *lease, types_error_t *error)
{
    bool is_done = begin_call() && lease_get(*session, lease);
    return is_done ? succeed() : give_up(error, "look for the lease of session %s", quoted(*session));
}
