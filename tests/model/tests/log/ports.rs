//! What a log speaks to: hooks that keep events when they get to it, and an archive.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use agent_host_session::id::{Sequence, SessionId};
use agent_host_session::log::Published;
use agent_host_session::message::{Content, Message};
use agent_host_session::ports::archive::{Gone, Volume};
use agent_host_session::ports::hooks::{Batch, Hooks, NoHooks, SessionDraft, ToolDraft, Verdict, Wants};
use agent_host_session::record::Options;
use async_trait::async_trait;
use serde_json::{Map, Value};
use shuttle::sync::Mutex;
use shuttle::sync::atomic::{AtomicBool, Ordering};
use shuttle::thread;
use tokio::sync::watch;

/// Hooks that want events at times, and store each batch when they get to it, in any order.
#[derive(Default)]
pub(crate) struct Spool {
    /// What is not stored, although they wanted it.
    missing: Arc<Mutex<BTreeSet<Sequence>>>,
    is_off: AtomicBool,
    /// A bug: they say so before they have stored it.
    says_so_first: bool,
}

impl Spool {
    pub(crate) fn that_lies() -> Self {
        Self { says_so_first: true, ..Self::default() }
    }

    /// Hooks come and go.
    pub(crate) fn wants(&self, events: bool) {
        self.is_off.store(!events, Ordering::SeqCst);
    }

    /// Whether everything up to there is stored that was to be.
    pub(crate) fn has(&self, last: Sequence) -> bool {
        self.missing.lock().unwrap().first().is_none_or(|missing| *missing > last)
    }
}

#[async_trait]
impl Hooks for Spool {
    fn wants(&self) -> Wants {
        Wants { events: !self.is_off.load(Ordering::SeqCst), ..Wants::default() }
    }

    fn tools(&self) -> watch::Receiver<bool> {
        NoHooks.tools()
    }

    fn record(&self, batch: Batch) {
        let numbers: Vec<_> = batch.events.iter().map(|event| event.sequence).collect();
        self.missing.lock().unwrap().extend(numbers.iter().copied());
        let (missing, says_so_first) = (Arc::clone(&self.missing), self.says_so_first);
        thread::spawn(move || {
            let stored = if says_so_first {
                batch.stored.done();
                None
            } else {
                Some(batch.stored)
            };
            missing.lock().unwrap().retain(|missing| !numbers.contains(missing));
            if let Some(stored) = stored {
                stored.done();
            }
        });
    }

    async fn before_session(&self, _: &SessionDraft) -> Verdict<Options> {
        Verdict::Allow
    }

    async fn before_message(&self, _: &SessionId, _: &Message, _: Option<&str>) -> Verdict<Content> {
        Verdict::Allow
    }

    async fn before_tool_use(&self, _: &ToolDraft) -> Verdict<Map<String, Value>> {
        Verdict::Allow
    }
}

/// An archive that keeps the newest of what it is given.
#[derive(Debug)]
pub(crate) struct Shelf {
    events: Mutex<VecDeque<Arc<Published>>>,
    room: usize,
}

impl Shelf {
    pub(crate) fn new(room: usize) -> Arc<Self> {
        Arc::new(Self { events: Mutex::default(), room })
    }
}

#[async_trait]
impl Volume for Shelf {
    fn put(&self, event: Arc<Published>, _: usize) {
        let mut events = self.events.lock().unwrap();
        events.push_back(event);
        if events.len() > self.room {
            events.pop_front();
        }
    }

    fn oldest(&self) -> Option<Sequence> {
        self.events.lock().unwrap().front().map(|event| event.sequence)
    }

    async fn read(&self, after: Sequence) -> Result<Vec<Arc<Published>>, Gone> {
        // It is read elsewhere, and takes its time.
        shuttle::future::yield_now().await;
        let events = self.events.lock().unwrap();
        let first = events.front().ok_or(Gone)?.sequence;
        let skip = after.next().0.checked_sub(first.0).ok_or(Gone)?;
        let read: Vec<_> = events.iter().skip(usize::try_from(skip).unwrap()).take(2).cloned().collect();
        if read.is_empty() { Err(Gone) } else { Ok(read) }
    }
}
