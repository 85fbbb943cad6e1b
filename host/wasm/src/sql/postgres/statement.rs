//! What a statement is, by its first word.

use crate::sql::Error;

/// What a component may do. Anything else changes the connection and not the data, which others then get from the pool: transactions by hand, `SET`, cursors, `LISTEN`,
/// prepared statements, temporary files of `COPY`. What it may do with the data is for the database to say, by the role that it connects as.
const ALLOWED: [&str; 22] = [
    "alter", "analyze", "call", "comment", "create", "delete", "do", "drop", "explain", "grant", "insert", "lock", "merge", "refresh",
    "reindex", "revoke", "select", "table", "truncate", "update", "values", "with",
];

/// Refuses what a component may not do.
pub(super) fn check(sql: &str) -> Result<(), Error> {
    let word = first_word(sql);
    if ALLOWED.iter().any(|allowed| word.eq_ignore_ascii_case(allowed)) {
        return Ok(());
    }
    let word: String = word.chars().take(40).collect();
    match word.is_empty() {
        true => Err(Error::Syntax("there is no statement".to_owned())),
        false => Err(Error::Denied(format!(
            "{} is not for components: a statement begins with one of {}",
            word.to_uppercase(),
            ALLOWED.join(", ")
        ))),
    }
}

/// Whether it can give names to what a later statement needs.
pub(super) fn defines(sql: &str) -> bool {
    let word = first_word(sql);
    ["alter", "call", "create", "do", "drop"].iter().any(|defining| word.eq_ignore_ascii_case(defining))
}

/// Whether it writes nothing, unless a function that it calls does.
pub(super) fn only_reads(sql: &str) -> bool {
    let word = first_word(sql);
    ["select", "table", "values"].iter().any(|reading| word.eq_ignore_ascii_case(reading))
}

/// The first word of a statement, behind white space, comments and parentheses.
fn first_word(sql: &str) -> &str {
    let mut rest = sql;
    loop {
        rest = rest.trim_start_matches(|character: char| character.is_ascii_whitespace() || character == '(');
        if let Some(comment) = rest.strip_prefix("--") {
            rest = comment.split_once('\n').map_or("", |(_, rest)| rest);
        } else if let Some(comment) = rest.strip_prefix("/*") {
            rest = after_comment(comment);
        } else {
            let end = rest.find(|character: char| !character.is_ascii_alphabetic()).unwrap_or(rest.len());
            return rest.split_at(end).0;
        }
    }
}

/// What is behind a comment whose beginning is read. They nest.
fn after_comment(comment: &str) -> &str {
    let (mut rest, mut depth) = (comment, 1);
    while depth > 0 {
        let Some(at) = rest.find("*/").into_iter().chain(rest.find("/*")).min() else { return "" };
        let (mark, behind) = rest.split_at(at).1.split_at(2);
        depth = if mark == "*/" { depth - 1 } else { depth + 1 };
        rest = behind;
    }
    rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_word_is_behind_comments() {
        for (sql, word) in [
            ("SELECT 1", "SELECT"),
            ("  \n(select 1)", "select"),
            ("-- a comment\n/* another /* nested */ COMMIT */ -- third\n UPDATE t", "UPDATE"),
            ("/* never ended SELECT 1", ""),
            ("-- never ended SELECT 1", ""),
            ("", ""),
            ("1", ""),
            ("ä", ""),
        ] {
            assert_eq!(first_word(sql), word, "{sql}");
        }
    }

    #[test]
    fn what_changes_the_connection_is_denied() {
        for sql in [
            "BEGIN",
            "commit",
            "ROLLBACK",
            "SAVEPOINT a",
            "SET search_path = x",
            "/**/SET x = 1",
            "COPY t TO '/tmp/x'",
            "LISTEN a",
            "PREPARE a AS SELECT 1",
        ] {
            assert!(matches!(check(sql), Err(Error::Denied(_))), "{sql}");
        }
        for sql in ["", " -- nothing\n", ";"] {
            assert!(matches!(check(sql), Err(Error::Syntax(_))), "{sql}");
        }
        for sql in ["WITH a AS (SELECT 1) SELECT * FROM a", "insert into t values (1)"] {
            check(sql).unwrap();
        }
    }
}
