//! What differs between the databases. Everything else is written in the SQL that they share, with SQLite's parameters (`?1`).

use std::borrow::Cow;

use agent_host_adapter::sql::Dialect;

/// A statement as the database wants it: PostgreSQL's parameters are `$1`.
pub(crate) fn statement(dialect: Dialect, sql: &str) -> Cow<'_, str> {
    match dialect {
        Dialect::Sqlite => Cow::Borrowed(sql),
        // No statement of this adapter has a question mark in a literal.
        Dialect::Postgresql => Cow::Owned(sql.replace('?', "$")),
    }
}

/// A statement that defines tables, with the words in braces replaced:
/// - `{id}`: a key that the database gives;
/// - `{integer}`, `{bytes}`: types;
/// - `{name}`: text that is compared and sorted byte by byte;
/// - `{table}`: what stands behind a table's columns.
pub(crate) fn definition(dialect: Dialect, sql: &str) -> String {
    let words = match dialect {
        Dialect::Sqlite => {
            [("{id}", "INTEGER PRIMARY KEY"), ("{integer}", "INTEGER"), ("{bytes}", "BLOB"), ("{name}", "TEXT"), ("{table}", "STRICT")]
        }
        Dialect::Postgresql => [
            ("{id}", "BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY"),
            ("{integer}", "BIGINT"),
            ("{bytes}", "BYTEA"),
            ("{name}", "TEXT COLLATE \"C\""),
            ("{table}", ""),
        ],
    };
    words.iter().fold(sql.to_owned(), |sql, (word, meaning)| sql.replace(word, meaning))
}

/// What a transaction runs first to make other instances wait until it has ended, if the database does not do that by itself, as SQLite does.
/// The number is this adapter's own, `agent` in ASCII.
pub(crate) fn lock_schema(dialect: Dialect) -> Option<&'static str> {
    match dialect {
        Dialect::Sqlite => None,
        Dialect::Postgresql => Some("SELECT pg_advisory_xact_lock(418430873204)"),
    }
}

/// What a batch runs first (session ?1, epoch ?2) so that no other transaction changes the session's epoch or streams until it has ended, if the
/// database does not do that by itself, as SQLite does. It changes nothing.
pub(crate) fn lock_session(dialect: Dialect) -> Option<&'static str> {
    match dialect {
        Dialect::Sqlite => None,
        Dialect::Postgresql => Some("UPDATE sessions SET epoch = epoch WHERE id = ?1 AND epoch = ?2"),
    }
}

/// The database's clock, in Unix milliseconds; of PostgreSQL not the time at which the transaction began, which may be long ago.
pub(crate) fn now(dialect: Dialect) -> &'static str {
    match dialect {
        Dialect::Sqlite => "CAST(unixepoch('subsec') * 1000 AS INTEGER)",
        Dialect::Postgresql => "CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000 AS BIGINT)",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_database_gets_its_own_words() {
        assert_eq!(statement(Dialect::Sqlite, "SELECT ?1, ?12"), "SELECT ?1, ?12");
        assert_eq!(statement(Dialect::Postgresql, "SELECT ?1, ?12"), "SELECT $1, $12");
        let sql = "CREATE TABLE t (a {integer}, b {bytes}, PRIMARY KEY (a)) {table}";
        assert_eq!(definition(Dialect::Sqlite, sql), "CREATE TABLE t (a INTEGER, b BLOB, PRIMARY KEY (a)) STRICT");
        assert_eq!(definition(Dialect::Postgresql, sql), "CREATE TABLE t (a BIGINT, b BYTEA, PRIMARY KEY (a)) ");
    }
}
