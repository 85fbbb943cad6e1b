//! Programs in a sandbox, and how they are killed: Modal has no call for that.

use agent_host_modal::{Command, Error, Exec, Sandbox};
use agent_host_session::ports::sandbox::{self, Control, Exit};
use async_trait::async_trait;
use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;
use uuid::Uuid;

use super::{HOME, helper};

/// The variable by which a program's children are known, too.
const MARK: &str = "AGENT_HOST_PROGRAM";

/// Kills all processes that have a line like this in their environment, or as their program, until there are none: one that is just being started has it as well. The
/// sandbox's own first process is none of them. Whoever starts others faster than they are killed is given up on.
const KILL: &str = r#"
for pass in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
    found=
    for directory in /proc/[0-9]*; do
        id=${directory#/proc/}
        [ "$id" = 1 ] || [ "$id" = $$ ] && continue
        if { tr '\0' '\n' < "$directory/environ"; tr '\0' '\n' < "$directory/cmdline" | head -n 1; } 2>/dev/null | grep -q "$1"; then
            kill -9 "$id" 2>/dev/null && found=yes
        fi
    done
    [ "$found" ] || exit 0
    sleep 0.05
done
exit 1
"#;

/// All programs of an agent, and what watches files.
const ANYTHING: &str = "^AGENT_HOST_PROGRAM=\\|/modal-sandbox-fs-tools$";

/// Starts a program in the workspace.
pub(super) async fn spawn(sandbox: &Sandbox, command: sandbox::Command) -> Result<sandbox::Process, Error> {
    let sandbox::Command { program, args, env } = command;
    let id = Uuid::new_v4().to_string();
    let mark = format!("^{MARK}={id}$");
    let mut wanted = Command::new(program).args(args).working_dir(super::WORKSPACE).env("HOME", HOME);
    for (name, value) in env {
        wanted = wanted.env(name, value);
    }
    wanted = wanted.env(MARK, id);
    let process = sandbox.exec(&wanted).await?;
    Ok(sandbox::Process {
        stdin: Box::new(process.stdin),
        stdout: Box::new(process.stdout),
        stderr: Box::new(process.stderr),
        control: Box::new(Running::new(sandbox.clone(), process.exec, mark)),
    })
}

/// Whether the sandbox has a program of this name.
pub(super) async fn has(sandbox: &Sandbox, program: &str) -> Result<bool, Error> {
    let look = Command::new("sh").args(["-c", "command -v \"$1\" > /dev/null", "sh", program]);
    Ok(helper::ask(sandbox, "looking for a program", look, Vec::new(), 0).await?.exit.is_success())
}

/// Ends the programs of an agent, and the watch, whoever has started them. One that has cleared its environment is not known to be the agent's.
pub(super) async fn end_all(sandbox: &Sandbox) -> Result<(), Error> {
    kill_all(sandbox, ANYTHING).await
}

async fn kill_all(sandbox: &Sandbox, pattern: &str) -> Result<(), Error> {
    helper::run(sandbox, "ending programs in a sandbox", Command::new("sh").args(["-c", KILL, "sh", pattern]), Vec::new()).await
}

struct Running {
    sandbox: Sandbox,
    mark: String,
    exit: watch::Receiver<Option<Result<Exit, sandbox::Error>>>,
    _waiting: AbortOnDropHandle<()>,
}

impl Running {
    fn new(sandbox: Sandbox, exec: Exec, mark: String) -> Self {
        let (tell, exit) = watch::channel(None);
        // Whoever waits begins and breaks off with each line that the program prints. Modal is asked once.
        let waiting = tokio::spawn(async move {
            let exit = exec.wait().await.map_err(failed).map(|exit| match exit {
                agent_host_modal::Exit::Code(code) => Exit { code: Some(code), signal: None },
                agent_host_modal::Exit::Signal(signal) => Exit { code: None, signal: Some(signal) },
            });
            tell.send_replace(Some(exit));
        });
        Self { sandbox, mark, exit, _waiting: AbortOnDropHandle::new(waiting) }
    }
}

#[async_trait]
impl Control for Running {
    async fn wait(&mut self) -> Result<Exit, sandbox::Error> {
        let ended = self.exit.wait_for(Option::is_some).await.ok().and_then(|exit| exit.clone());
        ended.unwrap_or_else(|| Err(sandbox::Error::Failed("waiting for a program broke off".to_owned())))
    }

    fn kill(&mut self) {
        let (sandbox, mark) = (self.sandbox.clone(), self.mark.clone());
        let kill = async move {
            if let Err(error) = kill_all(&sandbox, &mark).await {
                // With the sandbox its programs have ended.
                tracing::debug!(sandbox = sandbox.id(), %error, "a program could not be killed");
            }
        };
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(kill);
        }
    }
}

/// What went wrong, in the port's words.
pub(super) fn failed(error: Error) -> sandbox::Error {
    match error {
        Error::Ended { .. } => sandbox::Error::Gone(error.to_string()),
        error => sandbox::Error::Failed(error.to_string()),
    }
}
