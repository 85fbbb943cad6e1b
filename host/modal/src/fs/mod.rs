//! The files of a sandbox. What is done to them is done by a program that Modal puts into every sandbox.

mod entry;
mod watch;

use std::time::Duration;

use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};

pub use self::entry::{Entry, EntryKind};
pub use self::watch::{FileEvent, FileEventKind, Watch};
use crate::process::own_error;
use crate::router::Output;
use crate::{Command, Error, Exec, Exit, FileErrorKind, Process, Sandbox};

/// The program.
const HELPER: &str = "/__modal/.bin/modal-sandbox-fs-tools";

/// How long the program may take to end when it does not read its input any more.
const ENDING: Duration = Duration::from_secs(5);

/// What is read at once to be sent.
const PIECE_BYTES: usize = 256 * 1024;

/// The files of a sandbox. Paths are absolute.
#[derive(Clone, Debug)]
pub struct Fs(Sandbox);

impl Fs {
    pub(crate) fn of(sandbox: Sandbox) -> Self {
        Self(sandbox)
    }

    /// The contents of a file.
    ///
    /// # Errors
    /// [`Error::File`] says what is wrong with it, and those of [`exec`](Sandbox::exec).
    pub async fn read(&self, path: &str) -> Result<Bytes, Error> {
        let operation = Operation::start(&self.0, "ReadFile", path, json!({})).await?;
        operation.output().await.map(Bytes::from)
    }

    /// The contents of a file, as they come. An error of the file is in the [`io::Error`](std::io::Error) at the end.
    ///
    /// # Errors
    /// Those of [`exec`](Sandbox::exec).
    pub async fn read_stream(&self, path: &str) -> Result<impl AsyncRead + Send + Unpin + use<>, Error> {
        let operation = Operation::start(&self.0, "ReadFile", path, json!({})).await?;
        Ok(operation.into_reader())
    }

    /// Writes a file, in the place of one that is there, and makes the directories that it needs.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub async fn write(&self, path: &str, content: impl Into<Bytes>) -> Result<(), Error> {
        let operation = Operation::start(&self.0, "WriteFile", path, json!({})).await?;
        let Operation { path, process: Process { stdin, stdout, stderr, exec } } = operation;
        drop(stdout);
        let sent = stdin.send_all(content).await;
        written(&path, stderr, &exec, sent).await
    }

    /// Writes a file of what is read from `content` to its end, as it comes.
    ///
    /// # Errors
    /// As [`read`](Self::read), and [`Error::Invalid`] with what reading gave if that failed; the file is incomplete then.
    pub async fn write_from(&self, path: &str, mut content: impl AsyncRead + Unpin) -> Result<(), Error> {
        let mut operation = Operation::start(&self.0, "WriteFile", path, json!({})).await?;
        let stdin = &mut operation.process.stdin;
        let mut piece = vec![0; PIECE_BYTES];
        let send = async {
            loop {
                let read = content
                    .read(&mut piece)
                    .await
                    .map_err(|error| Error::Invalid { doing: "reading what is to be written", reason: error.to_string() })?;
                match piece.get(..read) {
                    Some(piece) if !piece.is_empty() => stdin.write_all(piece).await.map_err(own_error)?,
                    _ => return stdin.shutdown().await.map_err(own_error),
                }
            }
        };
        let sent = send.await;
        let Operation { path, process: Process { stdin, stderr, exec, .. } } = operation;
        drop(stdin);
        written(&path, stderr, &exec, sent).await
    }

    /// What is in a directory, by name.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub async fn list(&self, path: &str) -> Result<Vec<Entry>, Error> {
        Operation::start(&self.0, "ListFiles", path, json!({})).await?.answer().await
    }

    /// What is at a path. A link is what it is itself.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub async fn stat(&self, path: &str) -> Result<Entry, Error> {
        Operation::start(&self.0, "Stat", path, json!({})).await?.answer().await
    }

    /// Makes a directory; with `parents` also those that it needs, and it may be there already.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub async fn make_dir(&self, path: &str, parents: bool) -> Result<(), Error> {
        Operation::start(&self.0, "MakeDirectory", path, json!({"parents": parents})).await?.output().await.map(drop)
    }

    /// Removes a file, or an empty directory; with `recursive` also what is in it.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub async fn remove(&self, path: &str, recursive: bool) -> Result<(), Error> {
        Operation::start(&self.0, "Remove", path, json!({"recursive": recursive})).await?.output().await.map(drop)
    }

    /// Watches a file or directory, with all below it if `recursive`, until what this gives is dropped.
    ///
    /// # Errors
    /// Those of [`exec`](Sandbox::exec).
    pub async fn watch(&self, path: &str, recursive: bool) -> Result<Watch, Error> {
        let fields = json!({"recursive": recursive, "filter": null, "timeout_secs": null});
        let operation = Operation::start(&self.0, "Watch", path, fields).await?;
        Ok(Watch::new(operation))
    }
}

/// A run of the program.
struct Operation {
    path: String,
    process: Process,
}

/// What the program says when something failed.
#[derive(Deserialize)]
struct Complaint {
    error_kind: String,
    message: String,
}

impl Operation {
    async fn start(sandbox: &Sandbox, name: &str, path: &str, mut fields: Value) -> Result<Self, Error> {
        if !path.starts_with('/') {
            return Err(Error::Invalid { doing: "working with a sandbox's files", reason: format!("{path:?} is no absolute path") });
        }
        if let Some(fields) = fields.as_object_mut() {
            fields.insert("path".to_owned(), path.into());
        }
        let command = Command::new(HELPER).arg(json!({ name: fields }).to_string());
        Ok(Self { path: path.to_owned(), process: sandbox.exec(&command).await? })
    }

    /// What it printed, if it succeeded.
    async fn output(self) -> Result<Vec<u8>, Error> {
        let Self { path, process: Process { stdin, mut stdout, stderr, exec } } = self;
        stdin.abandon();
        let mut output = Vec::new();
        stdout.read_to_end(&mut output).await.map_err(own_error)?;
        match exec.wait().await? {
            exit if exit.is_success() => Ok(output),
            exit => Err(complaint(&path, exit, stderr).await),
        }
    }

    async fn answer<T: for<'a> Deserialize<'a>>(self) -> Result<T, Error> {
        let output = self.output().await?;
        serde_json::from_slice(&output).map_err(|error| Error::protocol("working with a sandbox's files", error.to_string()))
    }

    /// What it prints, and at the end what it complains about.
    fn into_reader(self) -> impl AsyncRead + Send + Unpin + use<> {
        let Self { path, process: Process { stdin, stdout, stderr, exec } } = self;
        stdin.abandon();
        let end = futures_util::stream::once(async move {
            match exec.wait().await? {
                exit if exit.is_success() => Ok(Bytes::new()),
                exit => Err(std::io::Error::from(complaint(&path, exit, stderr).await)),
            }
        });
        tokio_util::io::StreamReader::new(Box::pin(futures_util::StreamExt::chain(stdout, end)))
    }
}

/// How writing ended, when what was to be sent was sent or was not.
async fn written(path: &str, stderr: Output, exec: &Exec, sent: Result<(), Error>) -> Result<(), Error> {
    let exit = match &sent {
        Ok(()) => exec.wait().await?,
        // It says itself why it did not read on, if it has ended.
        Err(Error::InputClosed) => match tokio::time::timeout(ENDING, exec.wait()).await {
            Ok(exit) => exit?,
            Err(_) => return sent,
        },
        Err(_) => return sent,
    };
    match exit {
        exit if exit.is_success() && sent.is_ok() => Ok(()),
        exit => Err(complaint(path, exit, stderr).await),
    }
}

async fn complaint(path: &str, exit: Exit, mut stderr: Output) -> Error {
    let mut text = Vec::new();
    if let Err(error) = stderr.read_to_end(&mut text).await {
        return own_error(error);
    }
    let path = path.to_owned();
    match serde_json::from_slice::<Complaint>(&text) {
        Ok(Complaint { error_kind, message }) => Error::File { path, kind: kind(&error_kind), message },
        Err(_) => {
            let said: String = String::from_utf8_lossy(&text).chars().take(500).collect();
            Error::File { path, kind: FileErrorKind::Other, message: format!("the operation ended with {exit}: {said}") }
        }
    }
}

fn kind(name: &str) -> FileErrorKind {
    match name {
        "NotFound" => FileErrorKind::NotFound,
        "AlreadyExists" | "PathAlreadyExists" => FileErrorKind::AlreadyExists,
        "IsDirectory" => FileErrorKind::IsDirectory,
        "NotDirectory" | "IsFile" => FileErrorKind::NotDirectory,
        "DirectoryNotEmpty" => FileErrorKind::DirectoryNotEmpty,
        "PermissionDenied" => FileErrorKind::PermissionDenied,
        "FileTooLarge" => FileErrorKind::TooLarge,
        "NotSupported" => FileErrorKind::NotSupported,
        _ => FileErrorKind::Other,
    }
}
