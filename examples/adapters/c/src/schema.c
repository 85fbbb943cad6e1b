#include "schema.h"

#include "shim/database.h"
#include "shim/failure.h"
#include "shim/log.h"

// Names begin with `agent_`, so that the tables can be in the same database as those of the adapter that ships, and of others.
//
// What belongs to a session goes with it, by its foreign key; the host has SQLite watch over those, too.

// clang-format off

#define SESSIONS(DIALECT)                                                                                              \
    "CREATE TABLE agent_sessions ("                                                                                    \
    " id " DIALECT##_NAME " PRIMARY KEY,"                                                                              \
    " epoch " DIALECT##_INTEGER " NOT NULL,"                                                                           \
    " created_at " DIALECT##_INTEGER " NOT NULL,"                                                                      \
    " last_activity " DIALECT##_INTEGER " NOT NULL,"                                                                   \
    " profile TEXT NOT NULL,"                                                                                          \
    " architecture TEXT NOT NULL,"                                                                                     \
    " name TEXT,"                                                                                                      \
    " options TEXT,"                                                                                                   \
    " extra TEXT"                                                                                                      \
    ")" DIALECT##_TABLE

// The order of a listing.
#define SESSIONS_BY_CREATION(DIALECT) "CREATE INDEX agent_sessions_by_creation ON agent_sessions (created_at, id)"

#define STREAMS(DIALECT)                                                                                               \
    "CREATE TABLE agent_streams ("                                                                                     \
    " session " DIALECT##_NAME " NOT NULL REFERENCES agent_sessions ON DELETE CASCADE,"                                \
    " name " DIALECT##_NAME " NOT NULL,"                                                                               \
    " length " DIALECT##_INTEGER " NOT NULL,"                                                                          \
    " PRIMARY KEY (session, name)"                                                                                     \
    ")" DIALECT##_TABLE

// Without gaps: a chunk begins where the one before it ends.
#define STREAM_CHUNKS(DIALECT)                                                                                         \
    "CREATE TABLE agent_stream_chunks ("                                                                               \
    " session " DIALECT##_NAME " NOT NULL,"                                                                            \
    " stream " DIALECT##_NAME " NOT NULL,"                                                                             \
    " start " DIALECT##_INTEGER " NOT NULL,"                                                                           \
    " data " DIALECT##_BYTES " NOT NULL,"                                                                              \
    " PRIMARY KEY (session, stream, start),"                                                                           \
    " FOREIGN KEY (session, stream) REFERENCES agent_streams ON DELETE CASCADE"                                        \
    ")" DIALECT##_TABLE

#define FILES(DIALECT)                                                                                                 \
    "CREATE TABLE agent_files ("                                                                                       \
    " session " DIALECT##_NAME " NOT NULL REFERENCES agent_sessions ON DELETE CASCADE,"                                \
    " path " DIALECT##_NAME " NOT NULL,"                                                                               \
    " size " DIALECT##_INTEGER " NOT NULL,"                                                                            \
    " sha256 TEXT NOT NULL,"                                                                                           \
    " created_at " DIALECT##_INTEGER " NOT NULL,"                                                                      \
    " modified_at " DIALECT##_INTEGER " NOT NULL,"                                                                     \
    " extra TEXT,"                                                                                                     \
    " PRIMARY KEY (session, path)"                                                                                     \
    ")" DIALECT##_TABLE

// Contents have a table of their own, so that the index of files is read without them.
#define FILE_CHUNKS(DIALECT)                                                                                           \
    "CREATE TABLE agent_file_chunks ("                                                                                 \
    " session " DIALECT##_NAME " NOT NULL,"                                                                            \
    " path " DIALECT##_NAME " NOT NULL,"                                                                               \
    " start " DIALECT##_INTEGER " NOT NULL,"                                                                           \
    " data " DIALECT##_BYTES " NOT NULL,"                                                                              \
    " PRIMARY KEY (session, path, start),"                                                                             \
    " FOREIGN KEY (session, path) REFERENCES agent_files ON DELETE CASCADE"                                            \
    ")" DIALECT##_TABLE

#define PROFILES(DIALECT)                                                                                              \
    "CREATE TABLE agent_profiles ("                                                                                    \
    " id " DIALECT##_NAME " PRIMARY KEY,"                                                                              \
    " name TEXT NOT NULL,"                                                                                             \
    " description TEXT,"                                                                                               \
    " document TEXT NOT NULL"                                                                                          \
    ")" DIALECT##_TABLE

#define LEASES(DIALECT)                                                                                                \
    "CREATE TABLE agent_leases ("                                                                                      \
    " session " DIALECT##_NAME " PRIMARY KEY REFERENCES agent_sessions ON DELETE CASCADE,"                             \
    " owner TEXT NOT NULL,"                                                                                            \
    " address TEXT NOT NULL,"                                                                                          \
    " expires " DIALECT##_INTEGER " NOT NULL"                                                                          \
    ")" DIALECT##_TABLE

// clang-format on

static const struct dialects first_version[] = {
    IN_DIALECTS(SESSIONS), IN_DIALECTS(SESSIONS_BY_CREATION), IN_DIALECTS(STREAMS),  IN_DIALECTS(STREAM_CHUNKS),
    IN_DIALECTS(FILES),    IN_DIALECTS(FILE_CHUNKS),          IN_DIALECTS(PROFILES), IN_DIALECTS(LEASES),
};

// What brings the database from each version to the next. One that was used is never changed: a new one is added behind it.
static const struct {
    const struct dialects *statements;
    size_t count;
} migrations[] = {
    {.statements = first_version, .count = sizeof first_version / sizeof *first_version},
};

static const uint64_t current_version = sizeof migrations / sizeof *migrations;

#define SCHEMA(DIALECT) "CREATE TABLE agent_schema (version " DIALECT##_INTEGER " NOT NULL)" DIALECT##_TABLE
static const struct dialects create_schema = IN_DIALECTS(SCHEMA);

#define HAS_SCHEMA(DIALECT) DIALECT##_HAS_TABLE("agent_schema")
static const struct dialects has_schema = IN_DIALECTS(HAS_SCHEMA);

// The number that a query gives.
static bool one_number(const char *sql, const char *column, uint64_t *number)
{
    struct row row;
    if (!database_query(sql, NO_VALUES))
        return false;
    if (!database_next(&row))
        return fail(TYPES_ERROR_CORRUPT, "the schema has no %s", column);
    *number = row_number(&row, column);
    return !has_failed();
}

// The version that the database has; 0 if it has none yet.
static bool version(uint64_t *found)
{
    *found = 0;
    uint64_t tables;
    return one_number(database_words(has_schema), "tables", &tables)
           && (tables == 0 || one_number("SELECT version FROM agent_schema", "version", found));
}

// Makes other instances wait until the transaction has ended, where that is not so anyway.
static bool lock_schema(void)
{
    // The number is this adapter's own.
    return !database_writes_at_once() || database_query("SELECT pg_advisory_xact_lock(7234309766839)", NO_VALUES);
}

static bool run(const char *sql)
{
    uint64_t changed;
    return database_execute(sql, NO_VALUES, &changed);
}

static bool migrate_from(uint64_t found)
{
    if (found > current_version)
        return fail(TYPES_ERROR_OTHER, "the schema's version is %s, and this adapter knows only %s: the database was opened by a newer adapter",
                    decimal(found), decimal(current_version));
    for (uint64_t at = found; at < current_version; at++) {
        for (size_t statement = 0; statement < migrations[at].count; statement++) {
            if (!run(database_words(migrations[at].statements[statement])))
                return false;
        }
    }
    uint64_t changed;
    return (found > 0 || run(database_words(create_schema))) && run("DELETE FROM agent_schema")
           && database_execute("INSERT INTO agent_schema (version) VALUES (?1)", VALUES(sql_number(current_version)), &changed) && database_commit();
}

bool schema_migrate(void)
{
    // Most often there is nothing to do, which is seen without waiting for others who write.
    uint64_t found;
    if (!version(&found))
        return false;
    if (found == current_version)
        return true;
    if (!(database_begin() && lock_schema() && version(&found)))
        return false;
    if (found == current_version)
        return true; // Another instance was faster.
    if (!migrate_from(found))
        return false;
    log_info("the database's schema was brought from version %s to %s", decimal(found), decimal(current_version));
    return true;
}

bool schema_check(void)
{
    uint64_t found;
    return one_number("SELECT version FROM agent_schema", "version", &found);
}
