//! Programs that run in a sandbox.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use uuid::Uuid;

use crate::Error;
use crate::client::rpc;
use crate::proto::task_command_router::{
    TaskExecPollRequest, TaskExecStartRequest, TaskExecStderrConfig, TaskExecStdioFileDescriptor, TaskExecStdoutConfig,
    TaskExecWaitRequest, task_exec_poll_response, task_exec_wait_response,
};
use crate::router::{Output, Router, Stdin};
use crate::sandbox::{check_environment, secret_sources, whole_seconds};

/// What all arguments may have together.
const MAX_ARGUMENT_BYTES: usize = 65_536;

/// Between two of them, after one failed.
const WAIT_PAUSE: Duration = Duration::from_secs(1);

/// A program to run in a sandbox.
#[derive(Clone)]
pub struct Command {
    arguments: Vec<String>,
    env: BTreeMap<String, String>,
    secrets: Vec<String>,
    working_dir: Option<String>,
    timeout: Option<Duration>,
}

impl fmt::Debug for Command {
    /// Without the values of the environment, which may be secret.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Command")
            .field("arguments", &self.arguments)
            .field("env", &self.env.keys())
            .field("secrets", &self.secrets)
            .field("working_dir", &self.working_dir)
            .field("timeout", &self.timeout)
            .finish()
    }
}

impl Command {
    /// A program, by its path or a name to be found in the `PATH`.
    pub fn new(program: impl Into<String>) -> Self {
        Self { arguments: vec![program.into()], env: BTreeMap::new(), secrets: Vec::new(), working_dir: None, timeout: None }
    }

    /// Another argument.
    #[must_use]
    pub fn arg(mut self, argument: impl Into<String>) -> Self {
        self.arguments.push(argument.into());
        self
    }

    /// More arguments.
    #[must_use]
    pub fn args(mut self, arguments: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.arguments.extend(arguments.into_iter().map(Into::into));
        self
    }

    /// A variable of its environment, beside the sandbox's.
    #[must_use]
    pub fn env(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.env.insert(name.into(), value.into());
        self
    }

    /// A stored secret, by its id (`st-…`), whose variables are in the environment. Those of [`env`](Self::env) win.
    #[must_use]
    pub fn secret(mut self, id: impl Into<String>) -> Self {
        self.secrets.push(id.into());
        self
    }

    /// Where it begins, an absolute path.
    #[must_use]
    pub fn working_dir(mut self, path: impl Into<String>) -> Self {
        self.working_dir = Some(path.into());
        self
    }

    /// After how long it is killed, in whole seconds.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }
}

/// How a program ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// By itself, with this status.
    Code(i32),
    /// By this signal.
    Signal(i32),
}

impl Exit {
    /// Whether it ended by itself and well.
    pub fn is_success(self) -> bool {
        self == Self::Code(0)
    }
}

impl fmt::Display for Exit {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Code(code) => write!(formatter, "exit status {code}"),
            Self::Signal(signal) => write!(formatter, "signal {signal}"),
        }
    }
}

/// A program that runs. Nothing here ends it, dropping this included: it ends by itself, by its [timeout](Command::timeout), by another program that kills it, or with its sandbox.
#[derive(Debug)]
pub struct Process {
    /// Its input.
    pub stdin: Stdin,
    /// What it prints.
    pub stdout: Output,
    /// What it prints to be seen by people.
    pub stderr: Output,
    /// How it ends.
    pub exec: Exec,
}

/// What a program printed, and how it ended.
#[derive(Clone, Debug)]
pub struct Finished {
    /// How it ended.
    pub exit: Exit,
    /// What it printed.
    pub stdout: Vec<u8>,
    /// What it printed to be seen by people.
    pub stderr: Vec<u8>,
}

/// A program's run, by its id.
#[derive(Clone)]
pub struct Exec {
    router: Arc<Router>,
    id: String,
}

impl fmt::Debug for Exec {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Exec").field("id", &self.id).finish_non_exhaustive()
    }
}

impl Process {
    pub(crate) async fn start(router: Arc<Router>, command: &Command) -> Result<Self, Error> {
        const DOING: &str = "starting a program";
        let invalid = |reason: String| Error::Invalid { doing: DOING, reason };
        let Command { arguments, env, secrets, working_dir, timeout } = command;
        if let Some(path) = working_dir.as_ref().filter(|path| !path.starts_with('/')) {
            return Err(invalid(format!("the working directory {path:?} is no absolute path")));
        }
        let bytes: usize = arguments.iter().map(String::len).sum();
        if bytes > MAX_ARGUMENT_BYTES {
            return Err(invalid(format!("the arguments have {bytes} bytes; at most {MAX_ARGUMENT_BYTES} are allowed")));
        }
        check_environment(DOING, env.keys())?;
        let id = Uuid::new_v4().to_string();
        let request = TaskExecStartRequest {
            task_id: router.task_id().to_owned(),
            exec_id: id.clone(),
            command_args: arguments.clone(),
            stdout_config: TaskExecStdoutConfig::Pipe.into(),
            stderr_config: TaskExecStderrConfig::Pipe.into(),
            timeout_secs: timeout.map(|timeout| whole_seconds(DOING, timeout)).transpose()?,
            workdir: working_dir.clone(),
            secret_sources: secret_sources(secrets, env),
            ..TaskExecStartRequest::default()
        };
        router.call(DOING, None, request, rpc!(task_exec_start)).await?;
        let exec = Exec { router, id };
        Ok(Self {
            stdin: Stdin::new(Arc::clone(&exec.router), exec.id.clone()),
            stdout: exec.stdout_from(0),
            stderr: exec.stderr_from(0),
            exec,
        })
    }

    /// Sends the rest of its input and ends it, reads all that it prints, and waits for its end.
    ///
    /// # Errors
    /// Those of reading and [waiting](Exec::wait).
    pub async fn finish(self) -> Result<Finished, Error> {
        let Self { mut stdin, mut stdout, mut stderr, exec } = self;
        let (mut out, mut err) = (Vec::new(), Vec::new());
        // A program whose input cannot be ended may print for ever.
        let read = async { tokio::try_join!(stdin.shutdown(), stdout.read_to_end(&mut out), stderr.read_to_end(&mut err)) };
        read.await.map_err(own_error)?;
        let exit = exec.wait().await?;
        Ok(Finished { exit, stdout: out, stderr: err })
    }
}

/// The error that an [`Output`] or a [`Stdin`] put into an I/O error.
pub(crate) fn own_error(error: std::io::Error) -> Error {
    let doing = "reading a program's output";
    match error.downcast::<Error>() {
        Ok(error) => error,
        Err(error) => Error::Unavailable { doing, reason: error.to_string() },
    }
}

impl Exec {
    /// The one of an id, once Modal has said that there is one.
    pub(crate) async fn find(router: Arc<Router>, id: String) -> Result<Self, Error> {
        let exec = Self { router, id };
        exec.poll().await?;
        Ok(exec)
    }

    /// What it prints from this byte on, with what it has printed already. Any number of these can be read.
    pub fn stdout_from(&self, offset: u64) -> Output {
        Output::new(Arc::clone(&self.router), self.id.clone(), TaskExecStdioFileDescriptor::Stdout, offset)
    }

    /// What it prints to be seen by people, likewise.
    pub fn stderr_from(&self, offset: u64) -> Output {
        Output::new(Arc::clone(&self.router), self.id.clone(), TaskExecStdioFileDescriptor::Stderr, offset)
    }

    /// Its id, which is a UUID.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// How it ended, if it has.
    ///
    /// # Errors
    /// [`Error::Ended`] if the sandbox has ended before it, and those of every call.
    pub async fn poll(&self) -> Result<Option<Exit>, Error> {
        const DOING: &str = "asking whether a program has ended";
        let request = TaskExecPollRequest { task_id: self.router.task_id().to_owned(), exec_id: self.id.clone() };
        let answer = self.router.call(DOING, None, request, rpc!(task_exec_poll)).await?;
        Ok(answer.exit_status.map(|status| match status {
            task_exec_poll_response::ExitStatus::Code(code) => Exit::Code(code),
            task_exec_poll_response::ExitStatus::Signal(signal) => Exit::Signal(signal),
        }))
    }

    /// Waits for its end, for as long as its sandbox runs. Can be dropped and called again.
    ///
    /// # Errors
    /// [`Error::Ended`] if the sandbox has ended before it, and those of every call.
    pub async fn wait(&self) -> Result<Exit, Error> {
        const DOING: &str = "waiting for a program's end";
        loop {
            let request = TaskExecWaitRequest { task_id: self.router.task_id().to_owned(), exec_id: self.id.clone() };
            let failed = match self.router.call(DOING, Some(self.router.try_timeout()), request, rpc!(task_exec_wait)).await {
                Ok(answer) => match answer.exit_status {
                    Some(task_exec_wait_response::ExitStatus::Code(code)) => return Ok(Exit::Code(code)),
                    Some(task_exec_wait_response::ExitStatus::Signal(signal)) => return Ok(Exit::Signal(signal)),
                    None => return Err(Error::protocol(DOING, "it has ended, and how is not said")),
                },
                Err(failed) => failed,
            };
            // It runs longer than one call may last, or its machine does not answer: that may come back. One whose sandbox has ended does not.
            if !matches!(failed.error, Error::Unavailable { .. } | Error::TimedOut { .. }) {
                return Err(failed.error);
            }
            if let Some(error) = self.router.sandbox_end().await {
                return Err(error);
            }
            tokio::time::sleep(WAIT_PAUSE).await;
        }
    }
}
