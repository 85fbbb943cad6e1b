//! The one writer of a session: writes go to the store in order, one at a time, are tried again while the store is away, and are reported when they are durable.
//!
//! It is driven by the session's task, which goes on with other things meanwhile: [`Recorder::progress`] can be dropped at any time without losing a write.

use std::collections::{HashMap, VecDeque};
use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use backon::{BackoffBuilder as _, ExponentialBackoff, ExponentialBuilder};
use bytes::{Bytes, BytesMut};
use futures_util::future::BoxFuture;
use opentelemetry::trace::SpanBuilder;

use crate::id::{Epoch, SessionId};
use crate::metrics::Metrics;
use crate::path::RelativePath;
use crate::ports::store::{Error, Store};
use crate::record::{FileInfo, RecordChanges, StreamName};
use crate::trace::{Cause, Span};

/// Appends to one stream that wait together are joined up to this size, so that a fast agent costs few writes and no write is unboundedly large.
const JOIN_BYTES: usize = 1024 * 1024;

/// The first and the longest pause between tries. The first is about what a restart of a local database's connection takes.
const RETRY_PAUSE: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(5));

/// Something to write.
#[derive(Clone, Debug)]
pub enum Write {
    /// Bytes at the end of a stream.
    Append {
        /// Which stream.
        stream: StreamName,
        /// The bytes.
        data: Bytes,
    },
    /// A stream begins anew, with nothing in it.
    Reset {
        /// Which stream.
        stream: StreamName,
    },
    /// A file, new or changed.
    SaveFile {
        /// The file.
        file: FileInfo,
        /// Its contents.
        content: Bytes,
    },
    /// A file is gone.
    DeleteFile {
        /// The file.
        path: RelativePath,
    },
    /// The session's row has changed.
    Update {
        /// How.
        changes: RecordChanges,
    },
    /// Nothing: tells that all before it is durable.
    Barrier,
}

impl Write {
    /// The span of one try to write it, if it writes anything.
    fn span(&self, cause: &Cause) -> Span {
        let kind = match self {
            Self::Append { stream: StreamName::Events, .. } => "events",
            Self::Append { .. } | Self::Reset { .. } => "transcript",
            Self::SaveFile { .. } | Self::DeleteFile { .. } => "file",
            Self::Update { .. } => "session",
            Self::Barrier => return Span::none(),
        };
        let span = cause.child(|| SpanBuilder::from_name("write"));
        if span.is_recorded() {
            span.set("kind", kind);
            span.set("bytes", i64::try_from(self.weight()).unwrap_or(i64::MAX));
        }
        span
    }

    pub(crate) fn weight(&self) -> usize {
        match self {
            Self::Append { data, .. } => data.len(),
            Self::SaveFile { content, .. } => content.len(),
            Self::Reset { .. } | Self::DeleteFile { .. } | Self::Update { .. } | Self::Barrier => 0,
        }
    }
}

/// What came of the writes.
#[derive(Debug)]
pub enum Progress<T> {
    /// These are durable, with the errors of those that the store refused for themselves.
    Done(Vec<(T, Result<(), Error>)>),
    /// The store cannot be written now. Tries go on; said once until [`Progress::Done`].
    Failing(Error),
    /// Nothing can be written any more: another host has the session, or it was deleted.
    Fenced {
        /// Why.
        error: Error,
        /// What was waiting.
        lost: Vec<T>,
    },
}

struct Item<T> {
    write: Write,
    tag: Option<T>,
    cause: Cause,
}

struct InFlight<T> {
    attempt: BoxFuture<'static, Result<Option<u64>, Error>>,
    write: Write,
    tags: Vec<T>,
    /// Of writes that were joined, the first one's.
    cause: Cause,
}

/// Writes what happens to one session, in order.
pub struct Recorder<T> {
    store: Arc<dyn Store>,
    session: SessionId,
    epoch: Epoch,
    lengths: HashMap<StreamName, u64>,
    waiting: VecDeque<Item<T>>,
    waiting_bytes: usize,
    in_flight: Option<InFlight<T>>,
    retry: Option<ExponentialBackoff>,
    metrics: Arc<Metrics>,
    /// What causes the writes that come next.
    cause: Cause,
    /// Whether a write with this epoch has succeeded.
    pub epoch_taken: bool,
}

impl<T> Recorder<T> {
    /// A writer under `epoch`, which the store may have already, that continues streams of the given lengths.
    pub fn new(
        store: Arc<dyn Store>,
        session: SessionId,
        epoch: Epoch,
        epoch_taken: bool,
        lengths: HashMap<StreamName, u64>,
        metrics: Arc<Metrics>,
    ) -> Self {
        Self {
            store,
            session,
            epoch,
            lengths,
            waiting: VecDeque::new(),
            waiting_bytes: 0,
            in_flight: None,
            retry: None,
            metrics,
            cause: Cause::default(),
            epoch_taken,
        }
    }

    /// Under which epoch it writes.
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// Puts a write at the end of the queue; `tag` comes back when it is durable.
    pub fn push(&mut self, write: Write, tag: Option<T>) {
        self.waiting_bytes += write.weight();
        self.waiting.push_back(Item { write, tag, cause: self.cause.clone() });
    }

    /// What causes the writes that come next.
    pub fn cause(&self) -> &Cause {
        &self.cause
    }

    /// What comes next has another cause. Gives the one before.
    pub fn caused_by(&mut self, cause: Cause) -> Cause {
        std::mem::replace(&mut self.cause, cause)
    }

    /// Whether everything is durable.
    pub fn is_idle(&self) -> bool {
        self.in_flight.is_none() && self.waiting.is_empty()
    }

    /// Whether the store could not be written when it was last tried.
    pub fn is_failing(&self) -> bool {
        self.retry.is_some()
    }

    /// Bytes that are not being written yet.
    pub fn waiting_bytes(&self) -> usize {
        self.waiting_bytes
    }

    /// Waits until something came of the writes; for ever if there are none. Can be dropped at any time.
    pub async fn progress(&mut self) -> Progress<T> {
        loop {
            let mut current = match self.in_flight.take().or_else(|| self.next()) {
                Some(current) => current,
                None => return pending().await,
            };
            // Put back before waiting, so that nothing is lost when this future is dropped.
            let attempt = self.in_flight.insert(current);
            let result = (&mut attempt.attempt).await;
            let Some(finished) = self.in_flight.take() else { continue };
            current = finished;
            match result {
                Ok(length) => {
                    self.retry = None;
                    self.metrics.stored(&current.write);
                    if !matches!(current.write, Write::Barrier) && !std::mem::replace(&mut self.epoch_taken, true) {
                        // Nobody has asked for it; what was asked for comes next.
                        continue;
                    }
                    if let (Some(length), Write::Append { stream, .. } | Write::Reset { stream }) = (length, &current.write) {
                        self.lengths.insert(stream.clone(), length);
                    }
                    return Progress::Done(current.tags.into_iter().map(|tag| (tag, Ok(()))).collect());
                }
                Err(error) if error.is_transient() => {
                    let first = self.retry.is_none();
                    let pause = self.next_pause();
                    current.attempt = self.attempt(&current.write, &current.cause, Some(pause));
                    self.in_flight = Some(current);
                    if first {
                        return Progress::Failing(error);
                    }
                }
                Err(error @ (Error::StaleEpoch(_) | Error::NotFound(_) | Error::OffsetMismatch(_))) => return self.fenced(error, current),
                // A file or an update that the store will never take must not hold up all that follows it; a gap in a stream must, and an epoch that is not taken.
                Err(error) if !self.epoch_taken || matches!(current.write, Write::Append { .. } | Write::Reset { .. }) => {
                    return self.fenced(error, current);
                }
                Err(error) => {
                    tracing::error!(session = %self.session, %error, "the store refused a write");
                    return Progress::Done(current.tags.into_iter().map(|tag| (tag, Err(error.clone()))).collect());
                }
            }
        }
    }

    fn fenced(&mut self, error: Error, failed: InFlight<T>) -> Progress<T> {
        let waiting = self.waiting.drain(..).filter_map(|item| item.tag);
        Progress::Fenced { error, lost: failed.tags.into_iter().chain(waiting).collect() }
    }

    fn next(&mut self) -> Option<InFlight<T>> {
        let first = self.waiting.front()?;
        if !self.epoch_taken && !matches!(first.write, Write::Barrier) {
            return Some(self.take_epoch(first.cause.clone()));
        }
        let first = self.waiting.pop_front()?;
        self.waiting_bytes -= first.write.weight();
        let mut tags: Vec<T> = first.tag.into_iter().collect();
        let write = match first.write {
            Write::Append { stream, data } => {
                let data = self.join(&stream, data, &mut tags);
                Write::Append { stream, data }
            }
            other => other,
        };
        let cause = first.cause;
        Some(InFlight { attempt: self.attempt(&write, &cause, None), write, tags, cause })
    }

    /// Takes the epoch by a write that changes nothing else, before any that does. What an earlier process has sent may still come to a store over the network when it was killed:
    /// if that was only this, it does no harm under an epoch that the next process has taken as well, and if it was more, the next process has seen that the epoch is taken.
    fn take_epoch(&self, cause: Cause) -> InFlight<T> {
        let write = Write::Update { changes: RecordChanges::default() };
        InFlight { attempt: self.attempt(&write, &cause, None), write, tags: Vec::new(), cause }
    }

    /// Joins the appends to the same stream that stand directly behind.
    fn join(&mut self, stream: &StreamName, data: Bytes, tags: &mut Vec<T>) -> Bytes {
        let joins = |item: &Item<T>, length: usize| match &item.write {
            Write::Append { stream: other, data } => other == stream && length + data.len() <= JOIN_BYTES,
            _ => false,
        };
        if !self.waiting.front().is_some_and(|item| joins(item, data.len())) {
            return data;
        }
        let mut joined = BytesMut::from(data);
        while let Some(item) = self.waiting.pop_front_if(|item| joins(item, joined.len())) {
            self.waiting_bytes -= item.write.weight();
            if let Write::Append { data, .. } = item.write {
                joined.extend_from_slice(&data);
            }
            tags.extend(item.tag);
        }
        joined.freeze()
    }

    fn next_pause(&mut self) -> Duration {
        let (first, longest) = RETRY_PAUSE;
        let builder = || ExponentialBuilder::new().with_min_delay(first).with_max_delay(longest).without_max_times().with_jitter().build();
        self.retry.get_or_insert_with(builder).next().unwrap_or(longest)
    }

    /// One try, after a pause. Gives the stream's length where there is one.
    fn attempt(&self, write: &Write, cause: &Cause, pause: Option<Duration>) -> BoxFuture<'static, Result<Option<u64>, Error>> {
        let (store, session, epoch, write) = (Arc::clone(&self.store), self.session.clone(), self.epoch, write.clone());
        let offset = match &write {
            Write::Append { stream, .. } => self.lengths.get(stream).copied().unwrap_or(0),
            _ => 0,
        };
        let cause = cause.clone();
        Box::pin(async move {
            if let Some(pause) = pause {
                tokio::time::sleep(pause).await;
            }
            let span = write.span(&cause);
            let writing = async move {
                match write {
                    Write::Append { stream, data } => store.append(epoch, &session, &stream, offset, data).await.map(Some),
                    Write::Reset { stream } => store.replace(epoch, &session, &stream, Bytes::new()).await.map(Some),
                    Write::SaveFile { file, content } => store.save_file(epoch, &session, &file, content).await.map(|()| None),
                    Write::DeleteFile { path } => store.delete_file(epoch, &session, &path).await.map(|()| None),
                    Write::Update { changes } => store.update_session(epoch, &session, &changes).await.map(|()| None),
                    Write::Barrier => Ok(None),
                }
            };
            let result = span.cause().carry(writing).await;
            if result.is_err() {
                span.failed("the store did not take it");
            }
            result
        })
    }
}
