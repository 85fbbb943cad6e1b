//! What happens to files.

use std::fmt;

use serde::Deserialize;
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};

use super::{Operation, complaint};
use crate::process::own_error;
use crate::router::{Output, Stdin};
use crate::{Error, Exec};

/// Something that happened to files.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub struct FileEvent {
    /// What.
    #[serde(rename = "event_type")]
    pub kind: FileEventKind,
    /// To which.
    pub paths: Vec<String>,
}

/// What happened to a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub enum FileEventKind {
    /// It was read.
    Access,
    /// It was created.
    Create,
    /// It was changed.
    Modify,
    /// It was removed.
    Remove,
    /// It has another name: the first path was the old one, the second is the new one.
    Rename,
    /// It went elsewhere.
    RenameFrom,
    /// It came from elsewhere.
    RenameTo,
    /// Anything else.
    #[serde(other)]
    Unknown,
}

/// A watch over files, until it is dropped.
pub struct Watch {
    path: String,
    lines: Lines<BufReader<Output>>,
    stderr: Option<Output>,
    exec: Exec,
    /// Ends with this.
    _stdin: Stdin,
}

impl fmt::Debug for Watch {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Watch").field("path", &self.path).finish_non_exhaustive()
    }
}

impl Watch {
    pub(super) fn new(operation: Operation) -> Self {
        let Operation { path, process } = operation;
        let lines = BufReader::new(process.stdout).lines();
        Self { path, lines, stderr: Some(process.stderr), exec: process.exec, _stdin: process.stdin }
    }

    /// What happens next. Can be dropped without losing anything.
    ///
    /// # Errors
    /// [`Error::File`] if it cannot be watched, and those of reading a program's output. There is no watch any more after one.
    pub async fn next(&mut self) -> Result<FileEvent, Error> {
        const DOING: &str = "watching a sandbox's files";
        match self.lines.next_line().await.map_err(own_error)? {
            Some(line) => serde_json::from_str(&line).map_err(|error| Error::protocol(DOING, error.to_string())),
            None => {
                let exit = self.exec.wait().await?;
                match self.stderr.take() {
                    Some(stderr) => Err(complaint(&self.path, exit, stderr).await),
                    None => Err(Error::protocol(DOING, format!("the watch has ended with {exit}"))),
                }
            }
        }
    }
}
