//! Programs in a sandbox, and how they are killed: Modal has no call for that.

use agent_host_modal::{Command, Error, Exec, Sandbox};
use agent_host_session::ports::sandbox::{self, Control, Exit};
use async_trait::async_trait;
use uuid::Uuid;

use super::HOME;

/// The variable by which a program's children are known, too.
const MARK: &str = "AGENT_HOST_PROGRAM";

/// Kills all processes that have a line like this in their environment, or as their program, until there are none: one that is just being started has it as well. The
/// sandbox's own first process is none of them.
const KILL: &str = r#"
while :; do
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
        control: Box::new(Running { sandbox: sandbox.clone(), exec: process.exec, mark }),
    })
}

/// Whether the sandbox has a program of this name.
pub(super) async fn has(sandbox: &Sandbox, program: &str) -> Result<bool, Error> {
    let look = Command::new("sh").args(["-c", "command -v \"$1\" > /dev/null", "sh", program]);
    Ok(sandbox.exec(&look).await?.finish().await?.exit.is_success())
}

/// Ends all that was started in a sandbox, by whomever.
pub(super) async fn end_all(sandbox: &Sandbox) -> Result<(), Error> {
    kill_all(sandbox, ANYTHING).await
}

async fn kill_all(sandbox: &Sandbox, pattern: &str) -> Result<(), Error> {
    let command = Command::new("sh").args(["-c", KILL, "sh", pattern]);
    sandbox.exec(&command).await?.finish().await.map(drop)
}

struct Running {
    sandbox: Sandbox,
    exec: Exec,
    mark: String,
}

#[async_trait]
impl Control for Running {
    async fn wait(&mut self) -> Result<Exit, sandbox::Error> {
        match self.exec.wait().await.map_err(failed)? {
            agent_host_modal::Exit::Code(code) => Ok(Exit { code: Some(code), signal: None }),
            agent_host_modal::Exit::Signal(signal) => Ok(Exit { code: None, signal: Some(signal) }),
        }
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
