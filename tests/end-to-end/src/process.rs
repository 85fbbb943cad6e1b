//! A child process: what it prints goes to a file, and it is ended in time.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::sync::oneshot;

/// Longer than the grace that a host gives to running turns by default.
const END_DEADLINE: Duration = Duration::from_secs(60);

/// What a host prints on its standard output when it can be reached.
const LISTENING: &str = "listening on ";

/// A running process. It must be [ended](Self::end).
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
}

/// How to end it.
#[derive(Clone, Copy, Debug)]
pub(crate) enum End {
    /// Asks it to, and kills it if it has not ended in time.
    Terminate,
    /// Kills it at once.
    Kill,
}

impl Process {
    /// Starts it with both outputs appended to the file `log`. The receiver gets the address that it says it listens on.
    pub(crate) fn start(command: &mut Command, log: &Path) -> io::Result<(Self, oneshot::Receiver<String>)> {
        let mut log = File::options().create(true).append(true).open(log)?;
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log.try_clone()?).spawn()?;
        let stdout = child.stdout.take().ok_or_else(|| io::Error::other("the process has no output"))?;
        let (sender, receiver) = oneshot::channel();
        // Ends with the process, whose end of the pipe closes.
        std::thread::Builder::new().name("host-output".into()).spawn(move || {
            let mut sender = Some(sender);
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                let address = line.split_once(LISTENING).map(|(_, address)| address.trim().to_owned());
                if let (Some(address), Some(sender)) = (address, sender.take_if(|_| line.contains(LISTENING))) {
                    let _ = sender.send(address);
                }
                let _ = writeln!(log, "{line}");
            }
        })?;
        Ok((Self { child }, receiver))
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Ends it and waits for that.
    pub(crate) fn end(mut self, end: End) -> io::Result<ExitStatus> {
        let pid = Pid::from_child(&self.child);
        match end {
            // The process is not waited for yet, so that its id is still its own.
            End::Terminate => kill_process(pid, Signal::TERM)?,
            End::Kill => self.child.kill()?,
        }
        let (ended, watch) = mpsc::channel::<()>();
        let watchdog = std::thread::spawn(move || {
            if watch.recv_timeout(END_DEADLINE) == Err(mpsc::RecvTimeoutError::Timeout) {
                let _ = kill_process(pid, Signal::KILL);
                return false;
            }
            true
        });
        let status = self.child.wait();
        drop(ended);
        match watchdog.join() {
            Ok(true) => status,
            _ => Err(io::Error::new(io::ErrorKind::TimedOut, format!("it did not end within {END_DEADLINE:?} and was killed"))),
        }
    }

    /// Stops it where it is, or lets it go on.
    pub(crate) fn pause(&self, pause: bool) -> io::Result<()> {
        let signal = if pause { Signal::STOP } else { Signal::CONT };
        Ok(kill_process(Pid::from_child(&self.child), signal)?)
    }

    /// Waits for its own end.
    pub(crate) fn wait(mut self) -> io::Result<ExitStatus> {
        self.child.wait()
    }
}
