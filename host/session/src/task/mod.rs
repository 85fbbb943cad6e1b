//! The task that owns a loaded session, and the handle that others hold.
//!
//! All that happens to a session happens in this one task, one thing after the other: so there is one writer, one turn at a time, one sandbox. What takes time (the store, the sandbox)
//! is waited for beside everything else and never in the middle of something.
//!
//! An event is published at once and written right after, but for those that somebody is told of as done: an accepted message, changed options and
//! the end of a turn are written first and applied when the store has them. The first write takes the session's next epoch; nothing is published before it.

mod closing;
mod handle;
mod hooks;
mod load;
mod options;
mod runs;
mod turns;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::sync::{broadcast, mpsc, oneshot, watch};
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use crate::event::{Event, RecordLine, Runtime, SandboxState};
use crate::id::{BlockId, Epoch, MessageId, Sequence, SessionId};
use crate::log::{EventLog, Reveal, Subscription};
use crate::manager::leases::release;
use crate::manager::{Error, ListChange, Listed, Settings, Subscribed};
use crate::message::Message;
use crate::metadata::OfHooks;
use crate::metrics::Metrics;
use crate::ports::agenda::Agenda;
use crate::ports::agent::Architecture;
use crate::ports::archive::Archive;
use crate::ports::environment::Environment;
use crate::ports::hooks::Hooks;
use crate::ports::sandbox::Provider;
use crate::ports::store::{self, Store};
use crate::record::{FileInfo, Options, StreamName};
use crate::recorder::{Progress, Recorder, Write};
use crate::run::{Purpose, Run, RunEvent};
use crate::state::{State, View};
use crate::trace::Cause;

use handle::Asked;
pub(crate) use handle::{Command, Handle, Reply, Unloading};
pub(crate) use load::{Loaded, load};

/// Requests that may wait for a session's task. The task never waits itself, so that they only do in a burst.
const COMMANDS: usize = 64;

/// When the writes that wait hold this much, the agent is not read until some are done.
const BACKLOG_BYTES: usize = 32 * 1024 * 1024;

/// Transcripts are written before the next sync when this much has come together.
const TRANSCRIPT_BYTES: usize = 256 * 1024;

/// What all sessions of a host share.
pub(crate) struct Context {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) provider: Arc<dyn Provider>,
    pub(crate) architectures: BTreeMap<&'static str, Arc<dyn Architecture>>,
    pub(crate) environment: Arc<dyn Environment>,
    pub(crate) hooks: Arc<dyn Hooks>,
    pub(crate) agenda: Arc<dyn Agenda>,
    pub(crate) archive: Arc<dyn Archive>,
    pub(crate) settings: Settings,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) changes: broadcast::Sender<ListChange>,
    /// Cancelled when the host is about to end.
    pub(crate) shutdown: CancellationToken,
}

/// What is done when a write is durable.
enum Then {
    Repaired(Vec<Event>),
    Told { events: Vec<Event>, reply: Reply<()> },
    Accepted { message: Message, cause: Cause, reply: Reply<MessageId> },
    Known { id: MessageId, reply: Reply<MessageId> },
    OptionsUpdated { options: Options, reply: Reply<Options> },
    TurnEnded(Vec<Event>),
    Saved(FileInfo),
    Synced(Reply<()>),
    Recovered(oneshot::Sender<()>),
}

/// A loaded session.
struct Task {
    context: Arc<Context>,
    state: State,
    log: EventLog,
    recorder: Recorder<Then>,
    /// Blocks whose text has grown since it was last recorded, in an order that is the same in each run of the same.
    grown: BTreeSet<BlockId>,
    /// Transcript bytes that are not handed to the recorder yet.
    transcripts: BTreeMap<StreamName, BytesMut>,
    /// Transcripts that are stored or about to be.
    transcript_streams: Vec<StreamName>,
    /// Messages that are being written.
    accepting: HashMap<MessageId, Message>,
    /// Of the messages that wait for their turn, as far as they are traced.
    causes: HashMap<MessageId, Cause>,
    /// Options, with those that are being written.
    options: Options,
    /// What hooks keep in the metadata, with what is being written.
    hook_metadata: OfHooks,
    turn: Option<turns::Turn>,
    run: Option<Run>,
    run_is_ready: bool,
    /// The agent must be started anew before its next turn.
    run_is_outdated: bool,
    /// Whether it was told that files of the run's workspace are not kept.
    has_too_many_files: bool,
    /// Whether its agent has ended in the middle of a turn, so that the next turn is another run's.
    run_is_broken: bool,
    /// The options that the run was started with.
    run_options: Options,
    sandbox: Option<SandboxState>,
    listed: watch::Sender<Arc<Listed>>,
    /// The epoch of the last run before the session was loaded.
    run_epoch: Epoch,
    /// Whether an earlier process may have left a sandbox that nobody has looked for yet.
    has_left: bool,
    /// What is to be done with a sandbox that was left, as soon as the epoch is taken.
    taking_up: Option<Purpose>,
    /// Whether the agenda has the session.
    on_agenda: bool,
    /// Whether the session was looked over for what an earlier host left unfinished.
    repaired: bool,
    /// Whether the store has still to get what was written.
    is_behind: bool,
    /// Whether the event record needs a newline before anything else.
    is_torn: bool,
    /// When something last happened that keeps the session in memory.
    active_at: Instant,
    closing: Option<closing::Closing>,
}

/// Starts the task of a session that was loaded; `on_end` is called when it has ended.
pub(crate) fn spawn(
    context: Arc<Context>,
    loaded: Loaded,
    on_end: impl FnOnce() + Send + 'static,
) -> (Handle, impl Future<Output = ()> + Send) {
    let Loaded { state, epoch, is_taken, run_epoch, lengths, transcripts, is_torn } = loaded;
    let epoch = if is_taken { epoch } else { epoch.next() };
    let session = state.record.id.clone();
    let (store, id) = (Arc::clone(&context.store), session.clone());
    let (command_sender, commands) = mpsc::channel(COMMANDS);
    let runtime = Runtime { is_loaded: true, queued_messages: state.queue().len(), ..Runtime::default() };
    let (listed, listed_receiver) = watch::channel(Arc::new(Listed { record: state.record.clone(), runtime: runtime.clone() }));
    let ended = CancellationToken::new();
    let mut task = Task {
        log: EventLog::archived(session.clone(), epoch, context.settings.log, Arc::clone(&context.hooks), context.archive.open(&session)),
        recorder: Recorder::new(Arc::clone(&context.store), session, epoch, is_taken, lengths, Arc::clone(&context.metrics)),
        grown: BTreeSet::new(),
        transcripts: BTreeMap::new(),
        transcript_streams: transcripts,
        accepting: HashMap::new(),
        causes: HashMap::new(),
        options: state.record.options.clone(),
        hook_metadata: state.metadata().hooks.clone(),
        turn: None,
        run: None,
        run_is_ready: false,
        run_is_outdated: false,
        has_too_many_files: false,
        run_is_broken: false,
        run_options: Options::new(),
        sandbox: None,
        listed,
        run_epoch,
        has_left: false,
        taking_up: None,
        on_agenda: false,
        repaired: false,
        is_behind: false,
        is_torn,
        active_at: Instant::now(),
        closing: None,
        state,
        context,
    };
    task.state.runtime = runtime;
    let observer = task.log.observer();
    let handle = Handle { commands: command_sender, listed: listed_receiver, observer, ended: ended.clone() };
    let future = async move {
        // Also when the task is aborted or panics: a session that cannot be loaded any more would be lost until a restart.
        let _guard = ended.drop_guard();
        let _on_end = OnDrop(Some(move || {
            store.release(&id);
            on_end();
        }));
        task.run(commands).await;
        release(&task.context, task.id()).await;
    };
    (handle, future)
}

struct OnDrop<F: FnOnce()>(Option<F>);

impl<F: FnOnce()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        if let Some(function) = self.0.take() {
            function();
        }
    }
}

impl Task {
    fn id(&self) -> &SessionId {
        &self.state.record.id
    }

    async fn run(&mut self, mut commands: mpsc::Receiver<Asked>) {
        let context = Arc::clone(&self.context);
        let mut sync = tokio::time::interval(context.settings.sync_interval);
        sync.set_missed_tick_behavior(MissedTickBehavior::Delay);
        self.publish_listed();
        self.go_on();
        loop {
            if self.is_closed() && self.leave().await {
                return;
            }
            if self.closing.is_some() {
                // What arrives from now on is for the next task of this session.
                commands.close();
            }
            let idle_at = self.idle_at();
            let log_is_behind = self.log.is_behind();
            let reads_agent = (self.recorder.waiting_bytes() < BACKLOG_BYTES && !log_is_behind) || self.is_deleting();
            tokio::select! {
                command = commands.recv(), if !commands.is_closed() || !commands.is_empty() => match command {
                    Some(asked) if self.closing.is_none() => self.asked(asked),
                    // Dropped with its reply, which tells the asker to load the session anew.
                    Some(_) | None => {}
                },
                progress = self.recorder.progress() => self.written(progress),
                event = next_event(&mut self.run), if reads_agent => self.run_event(event),
                () = self.log.caught_up(), if log_is_behind => {}
                _ = sync.tick() => self.flush(),
                () = tokio::time::sleep_until(idle_at) => self.idle(),
                () = closing::deadline(self.closing.as_ref()) => self.closing_deadline(),
                () = context.shutdown.cancelled(), if !self.has_deadline() => self.shut_down(),
            }
            self.go_on_closing();
            self.keep_agenda();
        }
    }

    /// Says on the agenda whether something goes on that a host which is killed has to take up again.
    fn keep_agenda(&mut self) {
        let goes_on = self.turn.is_some()
            || self.run.is_some()
            || self.has_left
            || self.taking_up.is_some()
            || !self.state.queue().is_empty()
            || !self.accepting.is_empty();
        if goes_on != std::mem::replace(&mut self.on_agenda, goes_on) {
            let agenda = &self.context.agenda;
            if goes_on { agenda.begin(self.id()) } else { agenda.end(self.id()) }
        }
    }

    fn asked(&mut self, Asked { command, cause }: Asked) {
        if cause.is_traced() {
            // What is written to answer it is part of the request, also in the middle of a turn.
            let before = self.recorder.caused_by(cause);
            self.command(command);
            self.recorder.caused_by(before);
        } else {
            self.command(command);
        }
    }

    fn command(&mut self, command: Command) {
        match command {
            Command::Message { message, reply } => self.accept(message, reply),
            Command::Knows { id, reply } => drop(reply.send(Ok(self.knows(&id)))),
            Command::Interrupt { reply } => drop(reply.send(Ok(self.interrupt()))),
            Command::UpdateOptions { patch, reply } => self.update_options(patch, reply),
            Command::Sync { reply } => self.sync(reply),
            Command::View { reply } => drop(reply.send(Ok((self.view(), self.log.reveal())))),
            Command::Subscribe { since, reply } => drop(reply.send(Ok(self.subscribe(since)))),
            Command::State { reply } => drop(reply.send(Ok((&self.state).into()))),
            Command::SetMetadata { update, reply } => self.set_metadata(update, reply),
            Command::Note { hook, text, reply } => self.add_note(hook, text, reply),
            Command::Tell { event, reply } => self.tell(event, reply),
            Command::TakeUp { is_late, reply } => self.take_up(is_late, reply),
            Command::Fence { reply } => {
                self.fence(&store::Error::StaleEpoch(self.recorder.epoch().next()));
                drop(reply.send(Ok(())));
            }
            Command::Unload { reply } => self.unload(reply),
            Command::Delete { reply } => self.delete(reply),
        }
    }

    fn view(&self) -> View {
        self.state.view(self.log.latest())
    }

    fn subscribe(&mut self, since: Option<Sequence>) -> (Subscribed, Option<Reveal>) {
        self.touch();
        let continued: Option<Subscription> = since.and_then(|since| self.log.resume(since));
        match continued {
            Some(subscription) => (Subscribed::Continued(subscription), None),
            None => {
                let reveal = self.log.reveal();
                let (view, subscription) = (Box::new(self.view()), self.log.subscribe());
                (Subscribed::Snapshot { view, subscription, resync: since.is_some() }, reveal)
            }
        }
    }

    fn architecture(&self) -> Option<&Arc<dyn Architecture>> {
        self.context.architectures.get(self.state.record.architecture.as_str())
    }

    /// Something came of the writes.
    fn written(&mut self, progress: Progress<Then>) {
        match progress {
            Progress::Done(done) => {
                for (then, result) in done {
                    self.durable(then, result);
                }
                let is_behind = self.context.store.is_behind(self.id());
                if is_behind && !self.is_behind {
                    self.tell_unavailable("the store does not take writes; what happens is kept until it does");
                }
                self.is_behind = is_behind;
                self.advance();
            }
            Progress::Failing(error) => {
                tracing::warn!(session = %self.id(), %error, "failed to write to the store; trying again");
                if self.recorder.epoch_taken {
                    self.tell_unavailable("the store does not take writes; trying again");
                }
            }
            Progress::Fenced { error, lost } => {
                tracing::warn!(session = %self.id(), %error, "the session cannot be written any more; it is unloaded");
                for then in lost {
                    lose(then, &error);
                }
                self.fence(&error);
            }
        }
    }

    /// Tells those who watch that the store is away. What the adapter says is for the operator.
    fn tell_unavailable(&mut self, message: &str) {
        self.publish([Event::Failed { code: "STORE_UNAVAILABLE".to_owned(), message: message.to_owned() }]);
    }

    fn durable(&mut self, then: Then, result: Result<(), store::Error>) {
        match then {
            Then::Repaired(events) => self.publish_recorded(events),
            Then::Told { events, reply } => {
                if result.is_ok() {
                    self.publish_recorded(events);
                }
                drop(reply.send(result.map_err(Error::from)));
            }
            Then::Accepted { message, cause, reply } => self.accepted(message, cause, reply, result),
            Then::Known { id, reply } => drop(reply.send(result.map(|()| id).map_err(Error::from))),
            Then::OptionsUpdated { options, reply } => {
                if result.is_ok() {
                    self.publish_recorded([Event::OptionsUpdated { options: options.clone() }]);
                    if self.run_is_ready {
                        self.tell_run(crate::run::RunCommand::Options(options.clone()));
                    }
                }
                drop(reply.send(result.map(|()| options).map_err(Error::from)));
            }
            Then::TurnEnded(events) => self.turn_ended(events),
            Then::Saved(file) => self.saved(file, &result),
            Then::Synced(reply) => drop(reply.send(result.map_err(Error::from))),
            Then::Recovered(stored) => drop(stored.send(())),
        }
    }

    /// Applies events, gives them to subscribers and to the recorder.
    fn publish(&mut self, events: impl IntoIterator<Item = Event>) {
        let mut record = Vec::new();
        let mut public = Vec::new();
        let mut events = events.into_iter().peekable();
        while let Some(event) = events.next() {
            self.state.apply(&event);
            // A block that is complete at once is recorded once.
            let is_repeated = events.peek().is_some_and(|next| event.is_start_of(next));
            if event.is_durable() && !is_repeated {
                self.write_line(&event, &mut record);
            }
            if let Event::BlockDelta { block_id, .. } = &event
                && !self.grown.contains(block_id)
            {
                self.grown.insert(block_id.clone());
            }
            if event.is_public() {
                public.push(event);
            }
        }
        if !record.is_empty() {
            self.recorder.push(Write::Append { stream: StreamName::Events, data: record.into() }, None);
        }
        self.show(public);
    }

    /// Applies events that are in the record already, and gives them to subscribers.
    fn publish_recorded(&mut self, events: impl IntoIterator<Item = Event>) {
        let mut public = Vec::new();
        for event in events {
            self.state.apply(&event);
            if event.is_public() {
                public.push(event);
            }
        }
        self.show(public);
    }

    /// Gives events to subscribers.
    fn show(&mut self, events: Vec<Event>) {
        self.context.metrics.published(&events);
        if let Some(turn) = &mut self.turn {
            turn.watch.published(&events);
            turn.span.published(&events);
        }
        self.log.publish(events);
    }

    /// Tells what the session does now, if that is something else than before.
    fn publish_status(&mut self) {
        let runtime = Runtime {
            is_loaded: true,
            sandbox: self.sandbox.clone(),
            running_message_id: self.turn.as_ref().map(|turn| turn.message.id.clone()),
            queued_messages: self.state.queue().len(),
        };
        if runtime == self.state.runtime {
            return;
        }
        self.publish([Event::StatusChanged { runtime }]);
        self.publish_listed();
    }

    fn publish_listed(&self) {
        let listed = Arc::new(Listed { record: self.state.record.clone(), runtime: self.state.runtime.clone() });
        self.listed.send_replace(Arc::clone(&listed));
        // Nobody may be listening.
        drop(self.context.changes.send(ListChange::Updated(listed)));
    }

    fn write_line(&self, event: &Event, record: &mut Vec<u8>) {
        let line = RecordLine { at: self.context.environment.now(), epoch: self.recorder.epoch(), event: event.clone() };
        let start = record.len();
        match serde_json::to_writer(&mut *record, &line) {
            Ok(()) => record.push(b'\n'),
            Err(error) => {
                // No event has a map with keys that are not text, which is all that could fail here.
                record.truncate(start);
                tracing::error!(session = %self.id(), %error, "failed to write an event as JSON");
            }
        }
    }

    fn record_lines(&self, events: &[Event]) -> Bytes {
        let mut lines = Vec::new();
        for event in events {
            self.write_line(event, &mut lines);
        }
        lines.into()
    }

    /// Whether a write that somebody waits for may be begun.
    fn can_write(&self) -> Result<(), Error> {
        if self.recorder.is_failing() {
            let error = store::Error::Unavailable("earlier writes of this session are still waiting for it".to_owned());
            return Err(error.into());
        }
        Ok(())
    }

    /// Hands everything to the recorder that it does not have yet: what was added to transcripts, and what the blocks that are not complete have so far.
    fn flush(&mut self) {
        self.flush_transcripts();
        let grown = std::mem::take(&mut self.grown);
        let open = grown.iter().filter_map(|id| self.state.open_block(id));
        let events: Vec<Event> = open.map(|(conversation, block)| Event::BlockStarted { conversation, block }).collect();
        if !events.is_empty() {
            let data = self.record_lines(&events);
            self.recorder.push(Write::Append { stream: StreamName::Events, data }, None);
        }
    }

    fn flush_transcripts(&mut self) {
        for (stream, data) in std::mem::take(&mut self.transcripts) {
            self.recorder.push(Write::Append { stream, data: data.freeze() }, None);
        }
    }

    fn touch(&mut self) {
        self.active_at = Instant::now();
    }

    fn idle_at(&self) -> Instant {
        // Idle time is looked at anew when the present deadline is reached, so that touching costs nothing.
        const FAR: Duration = Duration::from_secs(365 * 24 * 3600);
        let timeout = self.context.settings.idle_timeout.min(FAR);
        self.active_at + timeout
    }
}

/// Tells whoever waits for a write that it cannot be done here. Those whose session another host has come again, and find it as it is now.
fn lose(then: Then, error: &store::Error) {
    let comes_again = matches!(error, store::Error::StaleEpoch(_) | store::Error::OffsetMismatch(_) | store::Error::NotFound(_));
    let error = || Error::from(error.clone());
    match then {
        Then::Synced(reply) => drop(reply.send(Err(error()))),
        Then::Accepted { reply, .. } | Then::Known { reply, .. } if !comes_again => drop(reply.send(Err(error()))),
        Then::OptionsUpdated { reply, .. } if !comes_again => drop(reply.send(Err(error()))),
        Then::Told { reply, .. } if !comes_again => drop(reply.send(Err(error()))),
        Then::Accepted { .. } | Then::Known { .. } | Then::OptionsUpdated { .. } | Then::Told { .. } => {}
        Then::Repaired(_) | Then::TurnEnded(_) | Then::Saved(_) | Then::Recovered(_) => {}
    }
}

async fn next_event(run: &mut Option<Run>) -> Option<RunEvent> {
    match run {
        Some(run) => run.next().await,
        None => pending().await,
    }
}
