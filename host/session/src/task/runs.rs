//! What the run tells, and what the session makes of it.

use std::sync::Arc;

use bytes::Bytes;

use super::turns::Turn;
use super::{Reply, TRANSCRIPT_BYTES, Task, Then};
use crate::block::{Block, ErrorBlock};
use crate::event::{Event, SandboxState, SandboxStatus, TurnOutcome};
use crate::id::ConversationId;
use crate::metadata::{Metadata, Usage};
use crate::ports::agent::Output;
use crate::ports::store;
use crate::record::{FileInfo, StreamName};
use crate::recorder::Write;
use crate::run::{End, LINE_TOO_LONG, Plan, Purpose, Run, RunCommand, RunEvent, SeenContent, SeenFile};
use crate::trace::Cause;

impl Task {
    /// Starts a sandbox with the agent in it, for the turn that is the cause.
    pub(super) fn start_run(&mut self, purpose: Purpose, cause: Cause) {
        self.has_left = false;
        let restart_count = self.sandbox.as_ref().map_or(0, |sandbox| sandbox.restart_count);
        self.sandbox = Some(SandboxState {
            sandbox_id: None,
            status: SandboxStatus::Starting,
            status_message: None,
            restart_count,
            last_health_check: None,
        });
        self.run_is_ready = false;
        self.run_is_outdated = false;
        self.has_too_many_files = false;
        self.run_is_broken = false;
        let Some(architecture) = self.architecture().cloned() else {
            let name = &self.state.record.architecture;
            let message = format!("this host cannot run the architecture {name:?}");
            self.run_ended(End::Failed { code: "UNKNOWN_ARCHITECTURE", message });
            return;
        };
        self.run_options.clone_from(&self.state.record.options);
        let metadata = self.state.metadata();
        self.run = Some(Run::start(Plan {
            store: Arc::clone(&self.context.store),
            purpose,
            provider: Arc::clone(&self.context.provider),
            architecture,
            environment: Arc::clone(&self.context.environment),
            hooks: Arc::clone(&self.context.hooks),
            session: self.id().clone(),
            epoch: self.recorder.epoch(),
            since: self.run_epoch,
            profile: self.state.record.profile.clone(),
            options: self.state.record.options.clone(),
            agent_session_id: metadata.agent_session_id.clone(),
            is_first: metadata.turns.is_none() && self.state.files().is_empty(),
            files: self.state.files().values().cloned().collect(),
            transcripts: self.transcript_streams.clone(),
            limits: self.context.settings.run,
            metrics: Arc::clone(&self.context.metrics),
            cause,
        }));
    }

    /// Tells the run something; whether there is one that listens.
    pub(super) fn tell_run(&self, command: RunCommand) -> bool {
        self.run.as_ref().is_some_and(|run| run.tell(command).is_ok())
    }

    /// Has the run look for changed files, and then waits until everything is stored.
    pub(super) fn sync(&mut self, reply: Reply<()>) {
        if let Err(error) = self.can_write() {
            drop(reply.send(Err(error)));
            return;
        }
        let told = match &self.run {
            Some(run) => run.tell(RunCommand::Flush(reply)),
            None => Err(RunCommand::Flush(reply)),
        };
        if let Err(RunCommand::Flush(reply)) = told {
            self.flushed(reply);
        }
    }

    fn flushed(&mut self, reply: Reply<()>) {
        self.flush();
        self.recorder.push(Write::Barrier, Some(Then::Synced(reply)));
    }

    /// The run tells something; `None` if it broke off.
    pub(super) fn run_event(&mut self, event: Option<RunEvent>) {
        match event {
            Some(RunEvent::Progress(message)) => self.update_sandbox(|sandbox| sandbox.status_message = Some(message)),
            Some(RunEvent::Started { sandbox_id }) => {
                // Before anything of it: what was left in any other sandbox is older from here on.
                self.publish([Event::SandboxTaken]);
                self.update_sandbox(|sandbox| sandbox.sandbox_id = Some(sandbox_id));
            }
            Some(RunEvent::Recovered { transcripts, stored }) => {
                for (stream, data) in transcripts {
                    self.transcript(stream, &data);
                }
                self.flush_transcripts();
                self.recorder.push(Write::Barrier, Some(Then::Recovered(stored)));
            }
            Some(RunEvent::Ending { stored }) => {
                self.flush_transcripts();
                self.recorder.push(Write::Barrier, Some(Then::Recovered(stored)));
            }
            Some(RunEvent::Ready) => {
                self.run_is_ready = true;
                let now = self.context.environment.now();
                self.update_sandbox(|sandbox| {
                    sandbox.status = SandboxStatus::Ready;
                    sandbox.status_message = None;
                    sandbox.last_health_check = Some(now);
                });
                if self.state.record.options != self.run_options {
                    self.tell_run(RunCommand::Options(self.state.record.options.clone()));
                }
                self.advance();
            }
            Some(RunEvent::Outputs(outputs)) => self.outputs(outputs),
            Some(RunEvent::File(file)) => self.file_seen(file),
            Some(RunEvent::Broken) => {
                self.run_is_ready = false;
                self.run_is_broken = true;
            }
            Some(RunEvent::TurnEnded(outcome)) => self.end_turn(outcome),
            Some(RunEvent::Flushed(reply)) => self.flushed(reply),
            Some(RunEvent::Ended(end)) => self.run_ended(end),
            None => self.run_ended(End::Failed { code: "HOST_ERROR", message: "the task that runs the agent broke off".to_owned() }),
        }
    }

    fn update_sandbox(&mut self, update: impl FnOnce(&mut SandboxState)) {
        if let Some(sandbox) = &mut self.sandbox {
            update(sandbox);
            self.publish_status();
        }
    }

    fn outputs(&mut self, outputs: Vec<Output>) {
        let mut events = Vec::with_capacity(outputs.len());
        for output in outputs {
            match output {
                Output::Event(event) => {
                    if matches!(&event, Event::Failed { code, .. } if code == LINE_TOO_LONG) {
                        self.context.metrics.left_out("line");
                    }
                    events.push(event);
                }
                Output::Spent { usage, cost_usd } => {
                    // The sum needs the state as of the events before it.
                    self.publish(events.drain(..));
                    events.push(self.spent(usage, cost_usd));
                }
                Output::Metadata { conversation, metadata } => events.push(Event::MetadataUpdated { conversation, metadata }),
                Output::Transcript { stream, data } => self.transcript(stream, &data),
                Output::TranscriptReset { stream } => {
                    self.transcripts.remove(&stream);
                    self.recorder.push(Write::Reset { stream }, None);
                }
                Output::Outdated => self.run_is_outdated = true,
                // The run keeps these to itself.
                Output::Stdin(_) | Output::Ready | Output::Asked(_) | Output::Withdrawn(_) | Output::TurnEnded(_) => {}
            }
        }
        self.publish(events);
    }

    fn spent(&self, usage: Usage, cost_usd: f64) -> Event {
        let known = self.state.metadata();
        let metadata = Metadata {
            usage: Some(known.usage.unwrap_or_default().plus(usage)),
            cost_usd: Some(known.cost_usd.unwrap_or(0.0) + cost_usd),
            ..Metadata::default()
        };
        Event::MetadataUpdated { conversation: ConversationId::main(), metadata }
    }

    fn transcript(&mut self, stream: StreamName, data: &[u8]) {
        if !self.transcript_streams.contains(&stream) {
            self.transcript_streams.push(stream.clone());
        }
        let waiting = self.transcripts.entry(stream).or_default();
        waiting.extend_from_slice(data);
        if waiting.len() >= TRANSCRIPT_BYTES {
            self.flush_transcripts();
        }
    }

    fn file_seen(&mut self, seen: SeenFile) {
        let SeenFile { path, content } = seen;
        let known = self.state.files().get(&path).cloned();
        let (size, sha256, bytes) = match content {
            SeenContent::Absent => {
                if let Some(known) = known {
                    if known.sha256.is_some() {
                        self.recorder.push(Write::DeleteFile { path: path.clone() }, None);
                    }
                    self.publish([Event::FileDeleted { path }]);
                }
                return;
            }
            SeenContent::Bytes { bytes, sha256 } => (bytes.len() as u64, Some(sha256), Some(bytes)),
            SeenContent::TooLarge { size } => {
                self.context.metrics.left_out("content");
                (size, None, None)
            }
        };
        // Of a file whose contents are not kept, nothing but a report shows that it has changed.
        if known.as_ref().is_some_and(|known| known.sha256 == sha256 && sha256.is_some()) {
            return;
        }
        if known.is_none() && self.state.files().len() >= self.context.settings.files {
            let limit = self.context.settings.files;
            tracing::warn!(session = %self.id(), %path, limit, "the workspace has too many files; a new one is not kept");
            self.context.metrics.left_out("file");
            // Once for each sandbox: a build directory has thousands.
            if !std::mem::replace(&mut self.has_too_many_files, true) {
                let message = format!("the workspace has more than {limit} files: {path} and other new ones are not kept");
                self.publish([Event::Failed { code: "TOO_MANY_FILES".to_owned(), message }]);
            }
            return;
        }
        let now = self.context.environment.now();
        let created_at = known.as_ref().map_or(now, |known| known.created_at);
        let file = FileInfo { path: path.clone(), size, sha256, created_at, modified_at: now };
        match &bytes {
            Some(bytes) => {
                let then = Then::Saved(file.clone());
                self.recorder.push(Write::SaveFile { file: file.clone(), content: bytes.clone() }, Some(then));
            }
            None if known.as_ref().is_some_and(|known| known.sha256.is_some()) => self.recorder.push(Write::DeleteFile { path }, None),
            None => {}
        }
        let content: Option<Bytes> = bytes.filter(|bytes| bytes.len() <= self.context.settings.inline_file_bytes);
        let event = if known.is_some() { Event::FileModified { file, content } } else { Event::FileCreated { file, content } };
        self.publish([event]);
    }

    /// The store has the file, or will never take it: then the session knows it as one whose contents are not kept.
    pub(super) fn saved(&mut self, file: FileInfo, result: &Result<(), store::Error>) {
        if result.is_err() && self.state.files().get(&file.path) == Some(&file) {
            self.publish([Event::FileModified { file: FileInfo { sha256: None, ..file }, content: None }]);
        }
    }

    /// The run is over and its sandbox is gone.
    pub(super) fn run_ended(&mut self, end: End) {
        self.run = None;
        self.run_is_ready = false;
        let failure = match end {
            End::Stopped => None,
            End::Failed { code, message } => Some((code, message)),
        };
        if let Some(sandbox) = &mut self.sandbox {
            sandbox.status = SandboxStatus::Terminated;
            sandbox.status_message = failure.as_ref().map(|(_, message)| message.clone());
            sandbox.restart_count += u32::from(failure.is_some());
        }
        // A turn that began when the agent had broken off in the one before is not its own, and has another run.
        let is_own = |turn: &Turn| !turn.is_ending && (turn.is_delivered || !self.run_is_broken);
        let in_turn = self.turn.as_ref().is_some_and(is_own);
        let was_delivered = self.turn.as_ref().is_some_and(|turn| turn.is_delivered);
        if let Some((code, message)) = failure {
            tracing::warn!(session = %self.id(), code, message, "the agent's run failed");
            // A driver closes what it opened; one that broke off could not.
            let mut events = self.state.close_open_blocks();
            if in_turn {
                let block = Block::Error(ErrorBlock {
                    id: self.context.environment.uuid().into(),
                    timestamp: self.context.environment.now(),
                    message: message.clone(),
                    code: Some(code.to_owned()),
                });
                events.extend(Event::whole_block(ConversationId::main(), block));
            }
            events.push(Event::Failed { code: code.to_owned(), message });
            self.publish(events);
            if in_turn {
                self.end_turn(TurnOutcome::Failed);
            }
        } else if was_delivered || self.closing.is_some() {
            self.end_turn(TurnOutcome::Interrupted);
        }
        self.flush_transcripts();
        // A message that came while the run was being ended gets a new one, as soon as everything of this one is stored.
        self.recorder.push(Write::Barrier, Some(Then::Repaired(Vec::new())));
        self.publish_status();
    }
}
