// What differs between the databases. Everything else is written in the SQL that they share, with SQLite's parameters (`?1`).
//
// A statement that needs one of these words is a macro which is given the name of the dialect and pastes it:
//
//     #define STATEMENT(DIALECT) "SELECT " DIALECT##_NOW
//     static const struct dialects statement = IN_DIALECTS(STATEMENT);
#ifndef DIALECT_H
#define DIALECT_H

// A statement in each of them.
struct dialects {
    const char *sqlite;
    const char *postgresql;
};

#define IN_DIALECTS(STATEMENT)                                           \
    {                                                                    \
        .sqlite = STATEMENT(SQLITE), .postgresql = STATEMENT(POSTGRESQL) \
    }

// Types. A name is text that is compared and sorted byte by byte.
#define SQLITE_INTEGER "INTEGER"
#define POSTGRESQL_INTEGER "BIGINT"
#define SQLITE_BYTES "BLOB"
#define POSTGRESQL_BYTES "BYTEA"
#define SQLITE_NAME "TEXT"
#define POSTGRESQL_NAME "TEXT COLLATE \"C\""

// What stands behind the columns of a table: whether SQLite checks their types, too.
#define SQLITE_TABLE " STRICT"
#define POSTGRESQL_TABLE ""

// The database's clock in Unix milliseconds. Of PostgreSQL not the time at which the transaction began, which may be long ago.
#define SQLITE_NOW "CAST(ROUND((julianday('now') - 2440587.5) * 86400000) AS INTEGER)"
#define POSTGRESQL_NOW "CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000 AS BIGINT)"

// Behind a query in a transaction: nobody else changes its rows until the transaction has ended. SQLite has one transaction that writes at a time.
#define SQLITE_LOCKED ""
#define POSTGRESQL_LOCKED " FOR UPDATE"

// Whether there is a table. PostgreSQL is asked for a row of its catalog: `to_regclass` can still answer from a cache what was so before a lock was
// waited for.
#define SQLITE_HAS_TABLE(name) "SELECT COUNT(*) FROM sqlite_schema WHERE type = 'table' AND name = '" name "'"
#define POSTGRESQL_HAS_TABLE(name) "SELECT COUNT(*) FROM pg_catalog.pg_class WHERE relname = '" name "' AND pg_catalog.pg_table_is_visible(oid)"

#endif
