// The whole adapter, called as the host calls it, over a SQLite database in memory.
//
// Whether it keeps the contract is for `agent-host adapter test` to say. What is tried here is what that cannot see: that no memory is used wrongly,
// that nothing stays open, and what happens where the database fails or has been damaged.

#include <string.h>

#include "../src/chunk.h"
#include "../src/shim/memory.h"
#include "../src/shim/text.h"
#include "adapter.h"
#include "host.h"
#include "test.h"

static types_error_t error;

// A call that succeeds, or that fails by an error of this kind. Nothing stays open, whatever comes of it.
#define DONE(call)                        \
    do {                                  \
        bool is_done = (call);            \
        if (!is_done)                     \
            print_error();                \
        EXPECT(is_done);                  \
        EXPECT(host_open_handles() == 0); \
    } while (0)

#define REFUSED(call, kind)               \
    do {                                  \
        EXPECT(!(call));                  \
        EXPECT(error.tag == (kind));      \
        EXPECT(host_open_handles() == 0); \
    } while (0)

static void print_error(void)
{
    if (error.tag == TYPES_ERROR_STALE_EPOCH || error.tag == TYPES_ERROR_OFFSET_MISMATCH)
        fprintf(stderr, "error %d: %llu\n", error.tag, (unsigned long long)error.val.stale_epoch);
    else
        fprintf(stderr, "error %d: %.*s\n", error.tag, (int)error.val.other.len, (const char *)error.val.other.ptr);
}

static bool error_says(const char *part)
{
    size_t length = strlen(part);
    for (size_t at = 0; at + length <= error.val.other.len; at++) {
        if (memcmp(error.val.other.ptr + at, part, length) == 0)
            return true;
    }
    return false;
}

// Arguments, where the host puts them.
static adapter_list_u8_t given(const void *bytes, size_t size)
{
    adapter_list_u8_t copy = {.ptr = cabi_realloc(NULL, 0, 1, size), .len = size};
    memcpy(copy.ptr, bytes, size);
    return copy;
}

static adapter_list_u8_t given_string(const char *string)
{
    return given(string, strlen(string));
}

static bool is_bytes(adapter_list_u8_t found, const void *wanted, size_t size)
{
    return found.len == size && (size == 0 || memcmp(found.ptr, wanted, size) == 0);
}

static text_t S = TEXT("s");
static text_t EVENTS = TEXT("events");

static void begin_anew(void)
{
    host_run("DELETE FROM agent_sessions");
    host_run("DELETE FROM agent_profiles");
}

static bool create(text_t id, uint64_t epoch, uint64_t created_at)
{
    types_session_record_t session = {
        .id = id,
        .created_at = created_at,
        .last_activity = created_at + 1,
        .profile = TEXT("default"),
        .architecture = TEXT("echo"),
        .name = {.is_some = true, .val = TEXT("a\0 'ü'")},
        .options = {.is_some = true, .val = TEXT("{}")},
    };
    return exports_sessions_create_session(epoch, &session, &error);
}

static bool append(uint64_t epoch, uint64_t offset, adapter_list_u8_t data)
{
    uint64_t length;
    return exports_streams_append(epoch, &S, &EVENTS, offset, &data, &length, &error) && length >= offset + data.len;
}

static bool save(uint64_t epoch, const char *path, adapter_list_u8_t content)
{
    types_file_info_t file = {.path = text_of(path), .size = content.len, .sha256 = TEXT("00"), .created_at = 1, .modified_at = 2};
    return exports_files_save_file(epoch, &S, &file, &content, &error);
}

static exports_sessions_option_snapshot_t load(text_t id)
{
    exports_sessions_option_snapshot_t snapshot;
    DONE(exports_sessions_load_session(&id, &snapshot, &error));
    return snapshot;
}

// More than two rows of bytes, none like another.
enum { LARGE = 2 * CHUNK_BYTES + 7 };

static const uint8_t *large(void)
{
    static uint8_t bytes[LARGE];
    uint32_t state = 1;
    for (size_t at = 0; at < LARGE; at++) {
        state = state * 1664525 + 1013904223;
        bytes[at] = (uint8_t)(state >> 24);
    }
    return bytes;
}

static void nothing_is_answered_before_open(void)
{
    REFUSED(exports_lifecycle_health(&error), TYPES_ERROR_INVALID);
    EXPECT(error_says("failed to check the store") && error_says("before `open`"));
    REFUSED(create(S, 1, 1), TYPES_ERROR_INVALID);
}

static bool open_with(text_t key, text_t value)
{
    adapter_tuple2_string_string_t entry = {.f0 = key, .f1 = value};
    adapter_list_tuple2_string_string_t config = {.ptr = &entry, .len = 1};
    exports_lifecycle_adapter_info_t info;
    return exports_lifecycle_open(&config, &info, &error);
}

static void open_refuses_what_is_wrong(void)
{
    REFUSED(open_with(TEXT("databse"), TEXT("main")), TYPES_ERROR_INVALID);
    EXPECT(error_says("\"databse\"") && error_says("\"database\""));
    REFUSED(open_with(TEXT("database"), TEXT("other")), TYPES_ERROR_INVALID);
    EXPECT(error_says("there is no such database"));
}

static void open_leaves_a_newer_database_alone(void)
{
    host_run("CREATE TABLE agent_schema (version INTEGER NOT NULL); INSERT INTO agent_schema VALUES (2)");
    REFUSED(open_with(TEXT("database"), TEXT("main")), TYPES_ERROR_OTHER);
    EXPECT(error_says("the schema's version is 2, and this adapter knows only 1"));
    EXPECT(host_number("SELECT COUNT(*) FROM sqlite_schema") == 1);
    host_run("DROP TABLE agent_schema");
}

static void open_that_fails_leaves_no_tables(void)
{
    // The database is opened, looked at, and locked; then come the tables.
    for (size_t calls = 0;; calls++) {
        host_fail_after(calls, SQL_ERROR_BUSY);
        bool is_open = open_with(TEXT("database"), TEXT("main"));
        if (!host_has_failed()) {
            EXPECT(is_open && calls > 10);
            break;
        }
        EXPECT(!is_open && error.tag == TYPES_ERROR_UNAVAILABLE && host_open_handles() == 0);
        EXPECT(host_number("SELECT COUNT(*) FROM sqlite_schema") == 0);
    }
    EXPECT(host_messages() == 1);
    DONE(exports_lifecycle_health(&error));
    REFUSED(open_with(TEXT("database"), TEXT("main")), TYPES_ERROR_INVALID);
}

static void a_session_comes_back(void)
{
    begin_anew();
    DONE(create(S, 3, 5));
    REFUSED(create(S, 3, 5), TYPES_ERROR_ALREADY_EXISTS);
    exports_sessions_option_snapshot_t found = load(S);
    EXPECT(found.is_some && found.val.epoch == 3);
    EXPECT(text_is(found.val.session.name.val, TEXT("a\0 'ü'")));
    EXPECT(!found.val.session.extra.is_some && found.val.streams.len == 0 && found.val.files.len == 0);
    EXPECT(!load(TEXT("t")).is_some);

    types_session_changes_t changes = {.last_activity = {.is_some = true, .val = 9}};
    DONE(exports_sessions_update_session(4, &S, &changes, &error));
    found = load(S);
    EXPECT(found.val.epoch == 4 && found.val.session.last_activity == 9 && found.val.session.created_at == 5);
    EXPECT(found.val.session.name.is_some);
    REFUSED(exports_sessions_update_session(3, &S, &changes, &error), TYPES_ERROR_STALE_EPOCH);
    EXPECT(error.val.stale_epoch == 4);
    REFUSED(exports_sessions_update_session(4, &EVENTS, &changes, &error), TYPES_ERROR_NOT_FOUND);
    changes.last_activity.val = UINT64_C(1) << 53;
    REFUSED(exports_sessions_update_session(4, &S, &changes, &error), TYPES_ERROR_INVALID);
}

static void what_belongs_to_a_session_goes_with_it(void)
{
    begin_anew();
    DONE(create(S, 1, 1));
    DONE(append(1, 0, given(large(), LARGE)));
    DONE(save(1, "a", given(large(), LARGE)));
    exports_leases_owner_t owner = {.id = TEXT("one"), .address = TEXT("http://one")};
    exports_leases_lease_t lease;
    DONE(exports_leases_acquire(&S, &owner, 1000, &lease, &error));
    DONE(exports_sessions_delete_session(1, &S, &error));
    EXPECT(host_number("SELECT (SELECT COUNT(*) FROM agent_streams) + (SELECT COUNT(*) FROM agent_stream_chunks)"
                       " + (SELECT COUNT(*) FROM agent_files) + (SELECT COUNT(*) FROM agent_file_chunks)"
                       " + (SELECT COUNT(*) FROM agent_leases)")
           == 0);
    DONE(exports_sessions_delete_session(1, &S, &error));
}

static void any_range_of_a_stream_can_be_read(void)
{
    begin_anew();
    DONE(create(S, 1, 1));
    // Rows of all sizes: one that is cut, and small ones.
    static const size_t ends[] = {1, 3, 10, LARGE - 5, LARGE};
    size_t begin = 0;
    for (size_t at = 0; at < sizeof ends / sizeof *ends; at++) {
        DONE(append(1, begin, given(large() + begin, ends[at] - begin)));
        begin = ends[at];
    }
    static const size_t offsets[] = {0, 1, 2, 9, 10, 11, CHUNK_BYTES, CHUNK_BYTES + 9, CHUNK_BYTES + 10, LARGE - 6, LARGE - 1, LARGE, LARGE + 1};
    static const uint32_t sizes[] = {0, 1, 2, 8, 9, CHUNK_BYTES, CHUNK_BYTES + 1, 1024 * 1024};
    for (size_t offset = 0; offset < sizeof offsets / sizeof *offsets; offset++) {
        for (size_t size = 0; size < sizeof sizes / sizeof *sizes; size++) {
            adapter_list_u8_t found;
            DONE(exports_streams_read(&S, &EVENTS, offsets[offset], sizes[size], &found, &error));
            size_t rest = offsets[offset] < LARGE ? LARGE - offsets[offset] : 0;
            EXPECT(is_bytes(found, large() + offsets[offset], rest < sizes[size] ? rest : sizes[size]));
        }
    }
}

static void an_append_is_repeated_and_goes_on(void)
{
    begin_anew();
    DONE(create(S, 1, 1));
    DONE(append(1, 0, given(large(), LARGE - 3)));
    DONE(append(1, 0, given(large(), LARGE - 3)));
    DONE(append(1, 0, given(large(), LARGE)));
    DONE(append(1, CHUNK_BYTES - 1, given(large() + CHUNK_BYTES - 1, 2)));
    EXPECT(host_number("SELECT length FROM agent_streams") == LARGE);
    EXPECT(host_number("SELECT SUM(length(data)) FROM agent_stream_chunks") == LARGE);

    adapter_list_u8_t other = given(large(), LARGE);
    other.ptr[LARGE - 1] ^= 1;
    REFUSED(append(2, 0, other), TYPES_ERROR_OFFSET_MISMATCH);
    EXPECT(error.val.offset_mismatch == LARGE);
    REFUSED(append(2, LARGE + 1, given_string("x")), TYPES_ERROR_OFFSET_MISMATCH);
    REFUSED(append(2, LARGE + 1, given_string("")), TYPES_ERROR_OFFSET_MISMATCH);
    EXPECT(load(S).val.epoch == 1);
    DONE(append(2, LARGE, given_string("")));
    EXPECT(load(S).val.epoch == 2);
    REFUSED(append(1, LARGE, given_string("x")), TYPES_ERROR_STALE_EPOCH);
}

static void what_replaces_a_stream_is_all_of_it(void)
{
    begin_anew();
    DONE(create(S, 1, 1));
    DONE(append(1, 0, given(large(), LARGE)));
    static const size_t sizes[] = {LARGE, 5, 0, CHUNK_BYTES};
    for (size_t at = 0; at < sizeof sizes / sizeof *sizes; at++) {
        adapter_list_u8_t data = given(large(), sizes[at]);
        uint64_t length;
        DONE(exports_streams_replace(1, &S, &EVENTS, &data, &length, &error));
        EXPECT(length == sizes[at]);
        adapter_list_u8_t found;
        DONE(exports_streams_read(&S, &EVENTS, 0, 1024 * 1024, &found, &error));
        EXPECT(is_bytes(found, large(), sizes[at]));
    }
}

static void what_is_missing_among_the_bytes_is_corrupt(void)
{
    begin_anew();
    DONE(create(S, 1, 1));
    DONE(append(1, 0, given(large(), LARGE)));
    host_run("DELETE FROM agent_stream_chunks WHERE start > 0 AND start < 2 * 262144");
    adapter_list_u8_t found;
    REFUSED(exports_streams_read(&S, &EVENTS, 0, 1024 * 1024, &found, &error), TYPES_ERROR_CORRUPT);
    EXPECT(error_says("end at 262144 and go on at 524288"));
    host_run("UPDATE agent_sessions SET created_at = -1");
    exports_sessions_option_snapshot_t snapshot;
    REFUSED(exports_sessions_load_session(&S, &snapshot, &error), TYPES_ERROR_CORRUPT);
    EXPECT(error_says("failed to load session \"s\": the column \"created_at\""));
}

static void files_come_back(void)
{
    begin_anew();
    DONE(create(S, 1, 1));
    DONE(save(1, "empty", given_string("")));
    DONE(save(1, "a/ü", given_string("old")));
    DONE(save(1, "a/ü", given(large(), LARGE)));
    EXPECT(load(S).val.files.len == 2);
    text_t path = TEXT("a/ü");
    adapter_list_u8_t found;
    DONE(exports_files_read_file(&S, &path, 0, 1024 * 1024, &found, &error));
    EXPECT(is_bytes(found, large(), LARGE));
    DONE(exports_files_read_file(&S, &path, CHUNK_BYTES - 1, 2, &found, &error));
    EXPECT(is_bytes(found, large() + CHUNK_BYTES - 1, 2));
    DONE(exports_files_read_file(&S, &TEXT("empty"), 0, 1, &found, &error));
    EXPECT(found.len == 0);
    for (int round = 0; round < 2; round++)
        DONE(exports_files_delete_file(1, &S, &path, &error));
    REFUSED(exports_files_read_file(&S, &path, 0, 1, &found, &error), TYPES_ERROR_NOT_FOUND);
    EXPECT(error_says("session \"s\" has no file \"a/ü\""));
    REFUSED(save(0, "b", given_string("x")), TYPES_ERROR_STALE_EPOCH);
    EXPECT(load(S).val.files.len == 1);
}

static void a_page_ends_where_it_is_full(void)
{
    begin_anew();
    enum { SESSIONS = 130 };
    for (size_t number = 0; number < SESSIONS; number++) {
        char id[8];
        snprintf(id, sizeof id, "s%03zu", number);
        DONE(create(text_of(id), 1, number / 3));
    }
    static const uint32_t limits[] = {1, 59, 60, 61, 129, 130, 131, 1000};
    for (size_t at = 0; at < sizeof limits / sizeof *limits; at++) {
        size_t seen = 0;
        char cursor[200];
        text_t place = {.ptr = (uint8_t *)cursor};
        types_page_t page = {.next.is_some = false};
        do {
            DONE(exports_sessions_list_sessions(page.next.is_some ? &place : NULL, limits[at], &page, &error));
            for (size_t session = 0; session < page.sessions.len; session++) {
                char id[8];
                snprintf(id, sizeof id, "s%03zu", SESSIONS - 1 - seen++);
                EXPECT(text_is(page.sessions.ptr[session].id, text_of(id)));
            }
            if (page.next.is_some) {
                EXPECT(page.sessions.len == limits[at]);
                memcpy(cursor, page.next.val.ptr, page.next.val.len);
                place.len = page.next.val.len;
            }
        } while (page.next.is_some);
        EXPECT(seen == SESSIONS);
    }
}

static void a_page_ends_where_it_is_large(void)
{
    begin_anew();
    for (int number = 0; number < 9; number++) {
        char id[2] = {(char)('a' + number), '\0'};
        DONE(create(text_of(id), 1, 1));
    }
    host_run("UPDATE agent_sessions SET options = hex(zeroblob(524288))");
    types_page_t page;
    DONE(exports_sessions_list_sessions(NULL, 1000, &page, &error));
    EXPECT(page.sessions.len == 4 && page.next.is_some);
    REFUSED(exports_sessions_list_sessions(&TEXT("rubbish \0 '"), 10, &page, &error), TYPES_ERROR_INVALID);
}

static void profiles_are_kept(void)
{
    begin_anew();
    types_profile_summary_t profile = {.id = TEXT("p"), .name = TEXT("P")};
    text_t document = TEXT("{\"id\": \"p\"}");
    DONE(exports_profiles_save_profile(&profile, &document, &error));
    profile.description = (adapter_option_string_t){.is_some = true, .val = TEXT("for all")};
    DONE(exports_profiles_save_profile(&profile, &document, &error));
    exports_profiles_list_profile_summary_t profiles;
    DONE(exports_profiles_list_profiles(&profiles, &error));
    EXPECT(profiles.len == 1 && text_is(profiles.ptr[0].description.val, TEXT("for all")));
    exports_profiles_option_json_t found;
    DONE(exports_profiles_load_profile(&profile.id, &found, &error));
    EXPECT(found.is_some && text_is(found.val, document));
    for (int round = 0; round < 2; round++)
        DONE(exports_profiles_delete_profile(&profile.id, &error));
    DONE(exports_profiles_load_profile(&profile.id, &found, &error));
    EXPECT(!found.is_some);
}

static void a_lease_is_taken_over_when_it_has_ended(void)
{
    begin_anew();
    DONE(create(S, 1, 1));
    exports_leases_owner_t one = {.id = TEXT("one"), .address = TEXT("http://one")};
    exports_leases_owner_t two = {.id = TEXT("two"), .address = TEXT("http://two")};
    exports_leases_lease_t lease;
    DONE(exports_leases_acquire(&S, &one, 60000, &lease, &error));
    DONE(exports_leases_acquire(&S, &two, 60000, &lease, &error));
    EXPECT(text_is(lease.owner.id, one.id) && lease.expires_in > 30000 && lease.expires_in <= 60000);
    EXPECT(load(S).val.epoch == 1);

    host_run("UPDATE agent_leases SET expires = 5");
    exports_leases_option_lease_t last;
    DONE(exports_leases_get(&S, &last, &error));
    EXPECT(last.is_some && last.val.expires_in == 0);
    DONE(exports_leases_acquire(&S, &two, 60000, &lease, &error));
    EXPECT(text_is(lease.owner.id, two.id) && lease.expires_in == 60000);
    EXPECT(load(S).val.epoch == 2);

    text_t sessions[] = {S, EVENTS};
    exports_leases_list_session_id_t asked = {.ptr = sessions, .len = 2};
    exports_leases_list_session_id_t lost;
    DONE(exports_leases_renew(&two.id, 60000, &asked, &lost, &error));
    EXPECT(lost.len == 1 && text_is(lost.ptr[0], EVENTS));
    DONE(exports_leases_renew(&one.id, 60000, &asked, &lost, &error));
    EXPECT(lost.len == 2);
    asked.len = 0;
    DONE(exports_leases_renew(&one.id, 60000, &asked, &lost, &error));
    EXPECT(lost.len == 0);

    DONE(exports_leases_release(&S, &one.id, &error));
    DONE(exports_leases_release(&S, &two.id, &error));
    DONE(exports_leases_get(&S, &last, &error));
    EXPECT(!last.is_some);
    REFUSED(exports_leases_acquire(&EVENTS, &one, 60000, &lease, &error), TYPES_ERROR_NOT_FOUND);
    REFUSED(exports_leases_acquire(&S, &one, 0, &lease, &error), TYPES_ERROR_INVALID);
}

// A call in which every call into the host fails once, one after the other.
static void fail_everywhere(bool (*call)(void), bool (*is_unchanged)(void))
{
    for (size_t calls = 0;; calls++) {
        host_fail_after(calls, SQL_ERROR_UNAVAILABLE);
        bool is_done = call();
        EXPECT(host_open_handles() == 0);
        if (!host_has_failed()) {
            EXPECT(is_done && calls > 0);
            return;
        }
        EXPECT(!is_done && error.tag == TYPES_ERROR_UNAVAILABLE && error_says("as the test wants it"));
        EXPECT(is_unchanged());
    }
}

static bool append_half_known(void)
{
    return append(2, 0, given(large(), LARGE));
}

static bool has_half_of_it(void)
{
    return host_number("SELECT epoch FROM agent_sessions") == 1 && host_number("SELECT length FROM agent_streams") == CHUNK_BYTES
           && host_number("SELECT SUM(length(data)) FROM agent_stream_chunks") == CHUNK_BYTES;
}

static bool take_over(void)
{
    exports_leases_owner_t owner = {.id = TEXT("two"), .address = TEXT("http://two")};
    exports_leases_lease_t lease;
    return exports_leases_acquire(&S, &owner, 1000, &lease, &error);
}

static bool has_first_owner(void)
{
    return host_number("SELECT epoch FROM agent_sessions") == 1 && host_number("SELECT COUNT(*) FROM agent_leases WHERE owner = 'one'") == 1;
}

static void a_database_that_fails_in_the_middle_changes_nothing(void)
{
    begin_anew();
    DONE(create(S, 1, 1));
    DONE(append(1, 0, given(large(), CHUNK_BYTES)));
    fail_everywhere(append_half_known, has_half_of_it);
    EXPECT(host_number("SELECT length FROM agent_streams") == LARGE);

    begin_anew();
    DONE(create(S, 1, 1));
    host_run("INSERT INTO agent_leases VALUES ('s', 'one', 'http://one', 5)");
    fail_everywhere(take_over, has_first_owner);
    EXPECT(host_number("SELECT epoch FROM agent_sessions") == 2);
}

static void what_the_database_says_is_told(void)
{
    static const struct {
        uint8_t database, contract;
    } errors[] = {
        {SQL_ERROR_BUSY, TYPES_ERROR_UNAVAILABLE}, {SQL_ERROR_UNAVAILABLE, TYPES_ERROR_UNAVAILABLE},
        {SQL_ERROR_DENIED, TYPES_ERROR_INVALID},   {SQL_ERROR_CONSTRAINT, TYPES_ERROR_OTHER},
        {SQL_ERROR_SYNTAX, TYPES_ERROR_OTHER},     {SQL_ERROR_OTHER, TYPES_ERROR_OTHER},
    };
    for (size_t at = 0; at < sizeof errors / sizeof *errors; at++) {
        host_fail_after(0, errors[at].database);
        REFUSED(exports_lifecycle_health(&error), errors[at].contract);
        EXPECT(error_says("failed to check the store: ") && error_says("as the test wants it"));
    }
}

int main(void)
{
    // The first four are what comes before the adapter is open.
    static const struct test tests[] = {
        TEST(nothing_is_answered_before_open),
        TEST(open_refuses_what_is_wrong),
        TEST(open_leaves_a_newer_database_alone),
        TEST(open_that_fails_leaves_no_tables),
        TEST(a_session_comes_back),
        TEST(what_belongs_to_a_session_goes_with_it),
        TEST(any_range_of_a_stream_can_be_read),
        TEST(an_append_is_repeated_and_goes_on),
        TEST(what_replaces_a_stream_is_all_of_it),
        TEST(what_is_missing_among_the_bytes_is_corrupt),
        TEST(files_come_back),
        TEST(a_page_ends_where_it_is_full),
        TEST(a_page_ends_where_it_is_large),
        TEST(profiles_are_kept),
        TEST(a_lease_is_taken_over_when_it_has_ended),
        TEST(a_database_that_fails_in_the_middle_changes_nothing),
        TEST(what_the_database_says_is_told),
    };
    return run_tests(tests, sizeof tests / sizeof *tests);
}
