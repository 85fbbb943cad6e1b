//! What went wrong, as `agent-host:sql` calls it.

use agent_host_adapter::sql::Error;
use tokio_postgres::error::SqlState;

/// An error of the driver or of the server.
pub(crate) fn of(error: &tokio_postgres::Error) -> Error {
    let Some(database) = error.as_db_error() else {
        let text = chain(error);
        // What is lost with its connection may have been done.
        return if error.is_closed() || is_of_network(error) { Error::Unavailable(text) } else { Error::Other(text) };
    };
    let text = database.message().to_owned();
    let code = database.code();
    if [SqlState::LOCK_NOT_AVAILABLE, SqlState::T_R_DEADLOCK_DETECTED, SqlState::T_R_SERIALIZATION_FAILURE].contains(code) {
        return Error::Busy(text);
    }
    match code.code().get(..2) {
        // The connection, resources of the server, an operator who stops it, a server that is not the primary any more.
        Some("08" | "53" | "57" | "25") => Error::Unavailable(text),
        Some("23") => Error::Constraint(text),
        Some("42") => Error::Syntax(text),
        Some("28") => Error::Denied(text),
        _ => Error::Other(text),
    }
}

fn is_of_network(error: &tokio_postgres::Error) -> bool {
    std::error::Error::source(error).is_some_and(|source| source.is::<std::io::Error>())
}

/// The error and what it came from.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    text
}
