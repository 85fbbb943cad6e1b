//! Why something did not work.

use std::fmt;
use std::time::Duration;

use tonic::{Code, Status};

use crate::retry;

/// Why a call did not do what it was to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// What the client was given to begin with makes no sense.
    #[error("the configuration of the Modal client cannot be used: {0}")]
    Config(String),
    /// Modal does not know who calls: the token is wrong, or not valid any more.
    #[error("Modal refused the token while {doing}: {reason}")]
    Unauthenticated {
        /// What was being done.
        doing: &'static str,
        /// What Modal said.
        reason: String,
    },
    /// Whoever calls may not do this.
    #[error("Modal did not permit {doing}: {reason}")]
    PermissionDenied {
        /// What was being done.
        doing: &'static str,
        /// What Modal said.
        reason: String,
    },
    /// There is no such thing.
    #[error("not found while {doing}: {reason}")]
    NotFound {
        /// What was being done.
        doing: &'static str,
        /// What Modal said.
        reason: String,
    },
    /// There is one already.
    #[error("already there while {doing}: {reason}")]
    AlreadyExists {
        /// What was being done.
        doing: &'static str,
        /// What Modal said.
        reason: String,
    },
    /// Modal, or this client before it asked, found that it cannot be done like this.
    #[error("invalid while {doing}: {reason}")]
    Invalid {
        /// What was being done.
        doing: &'static str,
        /// What is wrong.
        reason: String,
    },
    /// A quota or a limit is used up.
    #[error("a quota is used up while {doing}: {reason}")]
    Exhausted {
        /// What was being done.
        doing: &'static str,
        /// What Modal said.
        reason: String,
    },
    /// It took longer than it may.
    #[error("{doing} took longer than {limit:?}")]
    TimedOut {
        /// What was being done.
        doing: &'static str,
        /// How long it may take.
        limit: Duration,
    },
    /// Modal, or the machine on which the sandbox is, could not be reached, or failed, again and again.
    #[error("Modal is not available while {doing}: {reason}")]
    Unavailable {
        /// What was being done.
        doing: &'static str,
        /// What was said last.
        reason: String,
    },
    /// An image could not be built.
    #[error("the image {image_id} could not be built: {reason}")]
    BuildFailed {
        /// Which one.
        image_id: String,
        /// What kind of failure.
        kind: BuildFailure,
        /// Why.
        reason: String,
        /// The last lines that the build printed.
        log: String,
    },
    /// The sandbox is not there any more.
    #[error("the sandbox {sandbox_id} {end}")]
    Ended {
        /// Which one.
        sandbox_id: String,
        /// How it ended.
        end: End,
    },
    /// The program does not read its input any more.
    #[error("the program has ended or closed its input")]
    InputClosed,
    /// A file operation failed in the sandbox.
    #[error("{path}: {message}")]
    File {
        /// Which file.
        path: String,
        /// What kind of failure.
        kind: FileErrorKind,
        /// What was said of it.
        message: String,
    },
    /// An answer makes no sense.
    #[error("Modal answered what cannot be understood while {doing}: {reason}")]
    Protocol {
        /// What was being done.
        doing: &'static str,
        /// What is wrong with the answer.
        reason: String,
    },
}

/// Why an image could not be built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BuildFailure {
    /// A command failed, or what it begins with is not there. So it does when it is built again.
    Failed,
    /// It was told to end, by somebody or by Modal. Built again, it may succeed.
    Terminated,
    /// It took too long.
    TimedOut,
    /// It used too much memory.
    OutOfMemory,
    /// Something failed on Modal's side. Built again, it may succeed.
    Internal,
}

/// Why a file operation failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FileErrorKind {
    /// There is nothing at that path.
    NotFound,
    /// There is something already.
    AlreadyExists,
    /// It is a directory.
    IsDirectory,
    /// It, or something on the way to it, is no directory.
    NotDirectory,
    /// The directory is not empty.
    DirectoryNotEmpty,
    /// It is not permitted.
    PermissionDenied,
    /// The file is too large.
    TooLarge,
    /// It cannot be done there.
    NotSupported,
    /// Anything else.
    Other,
}

/// How a sandbox ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct End {
    /// What ended it.
    pub reason: EndReason,
    /// The exit code, where there is one: 124 after a timeout and 137 after it was terminated, as Modal's own clients say.
    pub code: Option<i32>,
    /// What Modal says of it, if it says something.
    pub message: String,
}

/// What ended a sandbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EndReason {
    /// Its program ended.
    Exited,
    /// It was told to end.
    Terminated,
    /// It reached the end of its lifetime.
    TimedOut,
    /// Nothing happened in it for too long.
    Idle,
    /// It used too much memory.
    OutOfMemory,
    /// It could not be started.
    NotStarted,
    /// Something failed on Modal's side.
    Failed,
}

impl fmt::Display for End {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let reason = match self.reason {
            EndReason::Exited => "has ended",
            EndReason::Terminated => "was terminated",
            EndReason::TimedOut => "reached the end of its lifetime",
            EndReason::Idle => "was ended because nothing happened in it",
            EndReason::OutOfMemory => "was ended because it used too much memory",
            EndReason::NotStarted => "could not be started",
            EndReason::Failed => "was ended by a failure at Modal",
        };
        formatter.write_str(reason)?;
        if let (EndReason::Exited, Some(code)) = (self.reason, self.code) {
            write!(formatter, " with the exit code {code}")?;
        }
        if self.message.is_empty() { Ok(()) } else { write!(formatter, " ({})", self.message) }
    }
}

impl Error {
    pub(crate) fn from_status(doing: &'static str, status: &Status) -> Self {
        let code = retry::code(status);
        let reason = if status.message().is_empty() { format!("{code:?}") } else { status.message().to_owned() };
        match code {
            Code::Unauthenticated => Self::Unauthenticated { doing, reason },
            Code::PermissionDenied => Self::PermissionDenied { doing, reason },
            Code::NotFound => Self::NotFound { doing, reason },
            Code::AlreadyExists => Self::AlreadyExists { doing, reason },
            Code::ResourceExhausted => Self::Exhausted { doing, reason },
            Code::InvalidArgument | Code::FailedPrecondition | Code::OutOfRange | Code::Unimplemented => Self::Invalid { doing, reason },
            _ => Self::Unavailable { doing, reason },
        }
    }

    pub(crate) fn protocol(doing: &'static str, reason: impl Into<String>) -> Self {
        Self::Protocol { doing, reason: reason.into() }
    }
}

impl From<Error> for std::io::Error {
    fn from(error: Error) -> Self {
        use std::io::ErrorKind;

        let kind = match &error {
            Error::NotFound { .. } | Error::File { kind: FileErrorKind::NotFound, .. } => ErrorKind::NotFound,
            Error::PermissionDenied { .. } | Error::File { kind: FileErrorKind::PermissionDenied, .. } => ErrorKind::PermissionDenied,
            Error::InputClosed => ErrorKind::BrokenPipe,
            Error::Ended { .. } => ErrorKind::ConnectionAborted,
            Error::TimedOut { .. } => ErrorKind::TimedOut,
            _ => ErrorKind::Other,
        };
        Self::new(kind, error)
    }
}
