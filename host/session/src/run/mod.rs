//! One sandbox with one agent process in it, from its making to its end.
//!
//! It is a task of its own, so that an agent that prints without pause, a file that is read or a sandbox that takes a minute to come up never
//! delays the session. The session tells it what to do through `Run` and gets back `RunEvent`s, bounded: an agent is read no faster than its session keeps up.

mod asking;
mod files;
mod lines;
mod pump;
mod start;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use opentelemetry::trace::SpanBuilder;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::task::AbortOnDropHandle;

use crate::event::TurnOutcome;
use crate::id::{Epoch, ProfileId, SessionId};
use crate::message::Message;
use crate::metrics::Metrics;
use crate::path::RelativePath;
use crate::ports::agent::{Architecture, Output};
use crate::ports::environment::Environment;
use crate::ports::hooks::Hooks;
use crate::ports::sandbox::{Provider, Sandbox};
use crate::ports::store::Store;
use crate::record::{FileInfo, Options, StreamName};
use crate::task::Reply;
use crate::trace::Cause;

/// The code of the error that tells that a line was left out.
pub(crate) const LINE_TOO_LONG: &str = "LINE_TOO_LONG";

/// Bounds of a run.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// The longest line that an agent may print, in bytes; a longer one is dropped. Claude prints whole files and images as one line,
    /// and 16 MB have been seen.
    pub line_bytes: usize,
    /// The largest workspace file whose contents are kept, in bytes.
    pub file_bytes: u64,
    /// How long the sandbox, and then the agent, may take to start without a sign of progress.
    pub start_timeout: Duration,
    /// How long an agent may take to end a turn that was interrupted, before it is ended itself. Claude takes 20 ms.
    pub interrupt_grace: Duration,
    /// How long an idle agent may take to end by itself when it is told to. Claude takes 80 ms.
    pub stop_grace: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            line_bytes: 32 * 1024 * 1024,
            file_bytes: 10 * 1024 * 1024,
            start_timeout: Duration::from_secs(60),
            interrupt_grace: Duration::from_secs(10),
            stop_grace: Duration::from_secs(5),
        }
    }
}

/// What a run is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// An agent that takes messages.
    Agent,
    /// The same, if an earlier process of the host has left a sandbox: whoever waited for its answer will go on. It ends at once if there is none.
    AgentIfLeft,
    /// Only to store what is in a sandbox that an earlier process has left. It ends then.
    Collect,
}

/// What a run is made from.
pub(crate) struct Plan {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) purpose: Purpose,
    pub(crate) provider: Arc<dyn Provider>,
    pub(crate) architecture: Arc<dyn Architecture>,
    pub(crate) environment: Arc<dyn Environment>,
    pub(crate) hooks: Arc<dyn Hooks>,
    pub(crate) session: SessionId,
    pub(crate) epoch: Epoch,
    /// The epoch of the last run before: an older sandbox that was left is not the latest.
    pub(crate) since: Epoch,
    pub(crate) profile: ProfileId,
    pub(crate) options: Options,
    pub(crate) agent_session_id: Option<String>,
    /// The workspace as it is stored.
    pub(crate) files: Vec<FileInfo>,
    /// The transcripts that are stored.
    pub(crate) transcripts: Vec<StreamName>,
    /// Whether the session has never run: only then the profile's default files are laid down.
    pub(crate) is_first: bool,
    pub(crate) limits: Limits,
    pub(crate) metrics: Arc<Metrics>,
    /// The turn that it is started for.
    pub(crate) cause: Cause,
}

/// What the session tells a run.
#[derive(Debug)]
pub(crate) enum RunCommand {
    /// A turn begins. Only after [`RunEvent::Ready`], one at a time.
    Message {
        message: Message,
        /// The turn.
        cause: Cause,
    },
    /// The running turn is to end.
    Interrupt,
    /// The session's options have changed.
    Options(Options),
    /// Look for changed files now, and say [`RunEvent::Flushed`] after them.
    Flush(Reply<()>),
    /// End the agent and the sandbox.
    Stop {
        /// How long the agent may take to end by itself.
        grace: Duration,
    },
}

/// What a run tells the session.
#[derive(Debug)]
pub(crate) enum RunEvent {
    /// What is being done to start, for people.
    Progress(String),
    /// The sandbox is there.
    Started {
        /// The provider's id of it.
        sandbox_id: String,
    },
    /// What the agent had added to its transcripts when nobody listened.
    Recovered {
        /// Bytes of each stream.
        transcripts: Transcripts,
        /// Told when they are stored.
        stored: oneshot::Sender<()>,
    },
    /// The sandbox is about to be removed.
    Ending {
        /// Told when everything that came before is stored.
        stored: oneshot::Sender<()>,
    },
    /// The agent takes messages.
    Ready,
    /// What the agent did: none of those [`Output`]s that the run acts on itself.
    Outputs(Vec<Output>),
    /// A workspace file, as it is now.
    File(SeenFile),
    /// The turn is over; all outputs and files of it came before.
    TurnEnded(TurnOutcome),
    /// The agent has ended in the middle of a turn, whose last outputs and end are still to come. The next message is for another run.
    Broken,
    /// All files that had changed before [`RunCommand::Flush`] came before this.
    Flushed(Reply<()>),
    /// The run is over and its sandbox is gone. Nothing comes after it.
    Ended(End),
}

/// A workspace file as it was seen.
#[derive(Debug)]
pub(crate) struct SeenFile {
    pub(crate) path: RelativePath,
    pub(crate) content: SeenContent,
}

/// What was seen of a file.
#[derive(Debug)]
pub(crate) enum SeenContent {
    Absent,
    Bytes { bytes: Bytes, sha256: String },
    TooLarge { size: u64 },
}

/// How a run ended.
#[derive(Debug)]
pub(crate) enum End {
    /// As it was told to.
    Stopped,
    /// By itself, or it never came up.
    Failed {
        /// For programs.
        code: &'static str,
        /// For people.
        message: String,
    },
}

/// The session's end of a run. Dropping it ends the run at once.
pub(crate) struct Run {
    commands: mpsc::Sender<RunCommand>,
    events: mpsc::Receiver<RunEvent>,
    _task: AbortOnDropHandle<()>,
}

/// Commands that may wait: a message, an interrupt, options, a flush and a stop at once, several times over.
const COMMANDS: usize = 32;

/// Events that may wait. Each holds one file or the outputs of one batch of lines.
const EVENTS: usize = 8;

impl Run {
    /// Begins a run.
    pub(crate) fn start(plan: Plan) -> Self {
        let (commands, command_receiver) = mpsc::channel(COMMANDS);
        let (event_sender, events) = mpsc::channel(EVENTS);
        let task = tokio::spawn(run(plan, command_receiver, event_sender));
        Self { commands, events, _task: AbortOnDropHandle::new(task) }
    }

    /// Tells the run something.
    ///
    /// # Errors
    /// Gives the command back if the run has ended, which its last event will say, or was told so much already that it does not keep up.
    pub(crate) fn tell(&self, command: RunCommand) -> Result<(), RunCommand> {
        self.commands.try_send(command).map_err(TrySendError::into_inner)
    }

    /// Whether it takes no more commands, because it is over.
    pub(crate) fn has_ended(&self) -> bool {
        self.commands.is_closed()
    }

    /// The next event; `None` after [`RunEvent::Ended`]. Can be dropped at any time.
    pub(crate) async fn next(&mut self) -> Option<RunEvent> {
        self.events.recv().await
    }
}

async fn run(plan: Plan, mut commands: mpsc::Receiver<RunCommand>, events: mpsc::Sender<RunEvent>) {
    let limits = plan.limits;
    let provider = plan.provider.name();
    let mut lifetime = plan.metrics.sandbox(provider);
    let span = plan.cause.child(|| SpanBuilder::from_name("sandbox start"));
    span.set("provider", provider);
    let (progress, progressed) = watch::channel(());
    let preparing = span.cause().carry(start::prepare(&plan, &events, &progress));
    let purpose = plan.purpose;
    let prepared = prepare(preparing, &progressed, limits.start_timeout, &mut commands, &events).await;
    // Kept until all that was in it is stored.
    let left = prepared.as_ref().ok().and_then(|(prepared, _)| prepared.left());
    let started = match prepared {
        Ok((prepared, is_stopped)) => {
            let goes_on = purpose == Purpose::Agent || (purpose == Purpose::AgentIfLeft && left.is_some());
            if goes_on && !is_stopped {
                let starting = span.cause().carry(start::start(plan, prepared, &events, &progress));
                tokio::select! {
                    started = starting => started,
                    () = stands_still(progressed, limits.start_timeout) => Err(stuck(limits.start_timeout)),
                    () = stopped(&mut commands, &events) => Err(End::Stopped),
                }
            } else {
                Err(End::Stopped)
            }
        }
        Err(end) => Err(end),
    };
    if let Err(End::Failed { code, .. }) = &started {
        span.failed(*code);
    }
    drop(span);
    let end = match started {
        Ok(started) => {
            lifetime.started();
            let sandbox = Arc::clone(&started.sandbox);
            let end = pump::pump(started, limits, &mut commands, &events).await;
            remove(sandbox.as_ref(), &events).await;
            end
        }
        Err(end) => {
            if let Some(sandbox) = &left {
                remove(sandbox.as_ref(), &events).await;
            }
            end
        }
    };
    lifetime.ends(match &end {
        End::Stopped => "stopped",
        End::Failed { code, .. } => code,
    });
    // Whoever still waits for a flush gets it: all that there was has been told.
    commands.close();
    while let Some(command) = commands.recv().await {
        if let RunCommand::Flush(reply) = command {
            send(&events, RunEvent::Flushed(reply)).await;
        }
    }
    send(&events, RunEvent::Ended(end)).await;
}

/// Finds out what was left, and takes it over, which is done to its end also if the run is stopped meanwhile: gives whether it was.
async fn prepare(
    preparing: impl Future<Output = Result<start::Prepared, End>>,
    progressed: &watch::Receiver<()>,
    limit: Duration,
    commands: &mut mpsc::Receiver<RunCommand>,
    events: &mpsc::Sender<RunEvent>,
) -> Result<(start::Prepared, bool), End> {
    tokio::pin!(preparing);
    let mut is_stopped = false;
    loop {
        tokio::select! {
            prepared = &mut preparing => return prepared.map(|prepared| (prepared, is_stopped)),
            () = stands_still(progressed.clone(), limit) => return Err(stuck(limit)),
            () = stopped(commands, events), if !is_stopped => is_stopped = true,
        }
    }
}

/// Ends a sandbox and removes it, when the session has stored everything: a host that is killed in between would find neither.
async fn remove(sandbox: &dyn Sandbox, events: &mpsc::Sender<RunEvent>) {
    let (stored, is_stored) = oneshot::channel();
    send(events, RunEvent::Ending { stored }).await;
    // An error means that nothing can be stored any more.
    drop(is_stored.await);
    if let Err(error) = sandbox.terminate().await {
        tracing::warn!(sandbox = sandbox.id(), %error, "the sandbox could not be ended");
    }
}

fn stuck(limit: Duration) -> End {
    End::Failed { code: "SANDBOX_FAILED", message: format!("the start of the sandbox made no progress in {} s", limit.as_secs()) }
}

/// Waits until there was no progress for so long.
async fn stands_still(mut progressed: watch::Receiver<()>, limit: Duration) {
    while tokio::time::timeout(limit, progressed.changed()).await.is_ok_and(|changed| changed.is_ok()) {}
}

/// Waits for the word to stop, while there is nothing yet that could take other commands.
async fn stopped(commands: &mut mpsc::Receiver<RunCommand>, events: &mpsc::Sender<RunEvent>) {
    while let Some(command) = commands.recv().await {
        match command {
            RunCommand::Stop { .. } => return,
            // There are no files yet.
            RunCommand::Flush(reply) => send(events, RunEvent::Flushed(reply)).await,
            // Messages and interrupts come when the agent is ready, and options again then.
            RunCommand::Options(_) | RunCommand::Message { .. } | RunCommand::Interrupt => {}
        }
    }
}

/// Tells the session. If it is gone, this task is about to be aborted.
async fn send(events: &mpsc::Sender<RunEvent>, event: RunEvent) {
    drop(events.send(event).await);
}

/// Bytes of transcripts by stream.
pub(crate) type Transcripts = BTreeMap<StreamName, Bytes>;
