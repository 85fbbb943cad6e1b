//! Which of SQLite's codes says why a statement failed.

use std::path::Path;

use rusqlite::ErrorCode;

use crate::sql::Error;

impl Error {
    /// A database file that could not be opened or set up.
    pub(super) fn open(path: &Path, reason: impl std::fmt::Display) -> Self {
        Self::Unavailable(format!("failed to open the database {}: {reason}", path.display()))
    }
}

impl From<rusqlite::Error> for Error {
    fn from(error: rusqlite::Error) -> Self {
        Self::of(&error).unwrap_or_else(Self::Other)
    }
}

impl Error {
    /// A statement that could not be prepared. SQLite has no code of its own for what is wrong with one.
    pub(super) fn of_preparing(error: rusqlite::Error) -> Self {
        if matches!(error, rusqlite::Error::MultipleStatement) {
            return Self::Syntax("more than one statement; give them to `batch`, each by itself".to_owned());
        }
        Self::of(&error).unwrap_or_else(Self::Syntax)
    }

    /// By SQLite's code. `Err` gives the text back if the code says nothing.
    fn of(error: &rusqlite::Error) -> Result<Self, String> {
        let text = error.to_string();
        let code = match error {
            rusqlite::Error::SqliteFailure(error, _) | rusqlite::Error::SqlInputError { error, .. } => Some(error.code),
            _ => None,
        };
        Ok(match code {
            Some(ErrorCode::ConstraintViolation) => Self::Constraint(text),
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked | ErrorCode::FileLockingProtocolFailed) => Self::Busy(text),
            Some(ErrorCode::AuthorizationForStatementDenied) => Self::Denied(text),
            Some(ErrorCode::ParameterOutOfRange) => Self::Syntax(text),
            Some(
                ErrorCode::CannotOpen
                | ErrorCode::DiskFull
                | ErrorCode::OperationInterrupted
                | ErrorCode::OutOfMemory
                | ErrorCode::PermissionDenied
                | ErrorCode::ReadOnly
                | ErrorCode::SystemIoFailure,
            ) => Self::Unavailable(text),
            _ => return Err(text),
        })
    }
}
