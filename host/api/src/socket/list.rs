//! The list of sessions as frames: a page when a client comes, afterwards only what changes, a burst of changes as one frame.

use std::collections::HashMap;
use std::future::pending;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use agent_host_session::id::SessionId;
use agent_host_session::manager::{self, ListChange, Listed, Listing, Manager};
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::{RecvError, TryRecvError};
use tokio::time::Instant;

use crate::options::SocketOptions;
use crate::problem::Problem;
use crate::wire::{ListChanges, ListPage, frame, problem_frame};

/// Changes that wait for the next frame. If there are more, a new page is less to send.
const MAX_PENDING: usize = 1000;

/// How long to wait before the store is asked again for a page that it did not give.
const PAGE_RETRY: Duration = Duration::from_secs(5);

/// What comes of the list.
pub(super) enum ListEvent {
    /// To be sent.
    Frame(String),
    /// Something changed; it is part of a later frame.
    Changed(ListChange),
    /// Changes were missed; a new page follows.
    Missed,
}

type LoadingPage = Pin<Box<dyn Future<Output = Result<Listing, manager::Error>> + Send>>;

enum Page {
    Sent,
    Wanted(Instant),
    Loading(LoadingPage),
}

/// The list, for one client.
pub(super) struct List {
    manager: Arc<Manager>,
    changes: Receiver<ListChange>,
    interval: Duration,
    page_size: u32,
    page: Page,
    /// The last change of each session: what it is now, or `None` if it was deleted.
    pending: HashMap<SessionId, Option<Arc<Listed>>>,
    /// When they are sent.
    flush_at: Option<Instant>,
}

impl List {
    pub(super) fn new(manager: Arc<Manager>, options: &SocketOptions) -> Self {
        Self {
            // Before the page is asked for, so that no change falls between the two.
            changes: manager.watch_list(),
            manager,
            interval: options.list_interval,
            page_size: options.list_page,
            page: Page::Wanted(Instant::now()),
            pending: HashMap::new(),
            flush_at: None,
        }
    }

    /// Waits for what comes next. Can be dropped at any time without losing something.
    pub(super) async fn next(&mut self) -> ListEvent {
        loop {
            tokio::select! {
                change = self.changes.recv() => match change {
                    Ok(change) => return self.note(change),
                    Err(RecvError::Lagged(_)) => return self.missed(),
                    Err(RecvError::Closed) => pending().await,
                },
                listing = load(&mut self.page) => match listing {
                    Some(listing) => return ListEvent::Frame(self.page_loaded(listing)),
                    None => self.page = Page::Loading(self.load()),
                },
                () = sleep_until(self.flush_at), if matches!(self.page, Page::Sent) => return ListEvent::Frame(self.flush()),
            }
        }
    }

    /// What has come already, without waiting.
    pub(super) fn try_next(&mut self) -> Option<ListEvent> {
        match self.changes.try_recv() {
            Ok(change) => Some(self.note(change)),
            Err(TryRecvError::Lagged(_)) => Some(self.missed()),
            Err(TryRecvError::Empty | TryRecvError::Closed) => None,
        }
    }

    fn note(&mut self, change: ListChange) -> ListEvent {
        let (id, now) = match &change {
            ListChange::Updated(listed) => (listed.record.id.clone(), Some(Arc::clone(listed))),
            ListChange::Deleted(id) => (id.clone(), None),
        };
        self.pending.insert(id, now);
        if self.pending.len() > MAX_PENDING {
            self.want_page(Instant::now());
        } else {
            self.flush_at.get_or_insert_with(|| Instant::now() + self.interval);
        }
        ListEvent::Changed(change)
    }

    fn missed(&mut self) -> ListEvent {
        self.want_page(Instant::now());
        ListEvent::Missed
    }

    fn want_page(&mut self, at: Instant) {
        self.pending.clear();
        self.flush_at = None;
        self.page = Page::Wanted(at);
    }

    fn load(&self) -> LoadingPage {
        let (manager, limit) = (Arc::clone(&self.manager), self.page_size);
        Box::pin(async move { manager.list(None, limit).await })
    }

    fn page_loaded(&mut self, listing: Result<Listing, manager::Error>) -> String {
        match listing {
            Ok(Listing { sessions, next }) => {
                self.page = Page::Sent;
                let page = ListPage { sessions: sessions.iter().map(Into::into).collect(), next_cursor: next.as_deref() };
                frame("sessions:list", &page)
            }
            Err(error) => {
                self.want_page(Instant::now() + PAGE_RETRY);
                problem_frame(None, &Problem::from(error))
            }
        }
    }

    fn flush(&mut self) -> String {
        self.flush_at = None;
        let pending = std::mem::take(&mut self.pending);
        let changes = ListChanges {
            changed: pending.values().flatten().map(|listed| listed.as_ref().into()).collect(),
            deleted: pending.iter().filter(|(_, now)| now.is_none()).map(|(id, _)| id).collect(),
        };
        frame("sessions:list", &changes)
    }
}

/// The page when it is there; `None` when it is time to ask for it.
async fn load(page: &mut Page) -> Option<Result<Listing, manager::Error>> {
    match page {
        Page::Sent => pending().await,
        Page::Wanted(at) => {
            tokio::time::sleep_until(*at).await;
            None
        }
        Page::Loading(loading) => Some(loading.as_mut().await),
    }
}

async fn sleep_until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => pending().await,
    }
}
