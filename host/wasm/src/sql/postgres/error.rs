//! Why a statement failed, and which of PostgreSQL's codes says so.

use std::error::Error as _;
use std::time::Duration;

use deadpool_postgres::{PoolError, TimeoutType};
use tokio_postgres::error::{DbError, SqlState};

use super::value::Unfit;
use crate::sql::Error;

/// What the server or the way to it says.
pub(super) fn of(error: tokio_postgres::Error) -> Error {
    if let Some(database) = error.as_db_error() {
        return of_code(database);
    }
    // Its own words are only what it was about to do.
    let reason = error.source().map_or_else(|| error.to_string(), |source| format!("{error}: {source}"));
    match error.source() {
        Some(source) if source.is::<Unfit>() => Error::Syntax(source.to_string()),
        _ => Error::Unavailable(format!("PostgreSQL cannot be reached: {reason}")),
    }
}

fn of_code(error: &DbError) -> Error {
    let code = error.code();
    let text = match error.detail() {
        Some(detail) => format!("{} ({detail})", error.message()),
        None => error.message().to_owned(),
    };
    if *code == SqlState::INSUFFICIENT_PRIVILEGE {
        return Error::Denied(text);
    }
    if [SqlState::LOCK_NOT_AVAILABLE, SqlState::T_R_DEADLOCK_DETECTED, SqlState::T_R_SERIALIZATION_FAILURE].contains(code) {
        return Error::Busy(text);
    }
    // A server that is not the primary any more.
    if *code == SqlState::READ_ONLY_SQL_TRANSACTION {
        return Error::Unavailable(text);
    }
    match code.code().get(..2) {
        Some("23") => Error::Constraint(text),
        // Syntax and names; and values that are none of their type.
        Some("42" | "22") => Error::Syntax(text),
        // Connections, resources, an operator who stops the server, its disk; and at the door: no such user, password or database.
        Some("08" | "53" | "57" | "58" | "28" | "3D") => Error::Unavailable(text),
        _ => Error::Other(text),
    }
}

/// Whether the statement was refused because its table is another one than when it was prepared.
pub(super) fn is_stale_plan(error: &tokio_postgres::Error) -> bool {
    error.as_db_error().is_some_and(|error| {
        // The server has no code of its own for it; the routine is the same in every language.
        *error.code() == SqlState::FEATURE_NOT_SUPPORTED && error.routine() == Some("RevalidateCachedQuery")
    })
}

/// Why there is no connection.
pub(super) fn of_pool(error: PoolError, name: &str, wait: Duration) -> Error {
    match error {
        PoolError::Timeout(TimeoutType::Wait) => Error::Busy(format!("waited {wait:?} for other transactions to end")),
        PoolError::Timeout(_) => Error::Unavailable(format!("PostgreSQL at {name} did not answer within {wait:?}")),
        PoolError::Backend(error) => match of(error) {
            Error::Unavailable(reason) => Error::Unavailable(format!("{name}: {reason}")),
            error => error,
        },
        error => Error::Unavailable(format!("{name}: {error}")),
    }
}
