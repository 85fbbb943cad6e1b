//! Giving to the store what the journal has kept: each session's writes in order, several sessions at once.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use agent_host_session::ports::store::{Error, Store};
use backon::{BackoffBuilder as _, ExponentialBuilder};
use bytes::Bytes;
use futures_util::{StreamExt as _, TryStreamExt as _};

use crate::disk::Disk;
use crate::lane::Lane;
use crate::record::{Found, Head};
use crate::store::{Availability, apply};

/// Sessions that are given back at once: as many as an adapter has instances, so that others are served meanwhile.
const AT_ONCE: usize = 4;

/// The first and the longest pause while the store is away. A store that is back is found within a few seconds.
const PAUSE: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// How often one write is tried before the store counts as away: an adapter that fails now and then must not stop all others each time.
const TRIES: u32 = 4;
const TRY_PAUSE: Duration = Duration::from_millis(20);

/// Why a journal could not be given back to its end.
#[derive(Debug, thiserror::Error)]
enum Stopped {
    #[error(transparent)]
    Store(#[from] Error),
    #[error(transparent)]
    Disk(#[from] io::Error),
}

/// Gives back what there is, for ever.
pub(crate) async fn run(disk: Arc<Disk>, store: Arc<dyn Store>, availability: Arc<Availability>) {
    let (first, longest) = PAUSE;
    let pauses = || ExponentialBuilder::new().with_min_delay(first).with_max_delay(longest).without_max_times().with_jitter().build();
    let mut pause = pauses();
    loop {
        if disk.is_empty() {
            disk.work.notified().await;
        }
        let giver = Giver { disk: &disk, store: store.as_ref(), availability: &availability };
        let lanes = futures_util::stream::iter(disk.lanes()).map(Ok);
        match lanes.try_for_each_concurrent(AT_ONCE, |lane| giver.give_back(lane)).await {
            Ok(()) => pause = pauses(),
            Err(error) => {
                match &error {
                    Stopped::Store(error) => tracing::debug!(%error, "the journal cannot be given to the store now, which is tried again"),
                    Stopped::Disk(error) => tracing::error!(%error, "the journal cannot be read or removed, which is tried again"),
                }
                tokio::select! {
                    () = tokio::time::sleep(pause.next().unwrap_or(longest)) => {}
                    () = disk.hurry.notified() => {}
                }
            }
        }
    }
}

struct Giver<'a> {
    disk: &'a Arc<Disk>,
    store: &'a dyn Store,
    availability: &'a Availability,
}

impl Giver<'_> {
    /// Gives back all that one session has.
    async fn give_back(&self, lane: Arc<Lane>) -> Result<(), Stopped> {
        loop {
            let Some(found) = lane.first() else {
                if self.blocking(&lane, |disk, lane| disk.close(lane)).await? {
                    tracing::info!(session = %lane.session(), "the store has everything that the journal kept of a session");
                    return Ok(());
                }
                continue;
            };
            let body = match self.body(&lane, &found).await {
                Ok(body) => body,
                // A disk that does not read now may do so later.
                Err(error) if !matches!(error.kind(), io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof) => {
                    return Err(error.into());
                }
                Err(error) => {
                    tracing::error!(session = %lane.session(), at = found.place.start, %error, "a record of the journal is lost");
                    self.disk.metrics.lost(1);
                    lane.lost_first();
                    continue;
                }
            };
            match self.give(&lane, &found.head, body).await {
                Ok(_) => {
                    self.disk.metrics.given_back();
                    lane.given_back();
                }
                Err(error) if error.is_transient() => return Err(error.into()),
                Err(error) => {
                    if self.refused(&lane, &found, error).await? {
                        return Ok(());
                    }
                }
            }
        }
    }

    async fn body(&self, lane: &Arc<Lane>, found: &Found) -> io::Result<Bytes> {
        let found = found.clone();
        self.blocking(lane, move |_, lane| lane.body(&found)).await
    }

    async fn give(&self, lane: &Lane, head: &Head, body: Bytes) -> Result<u64, Error> {
        let mut head = head.clone();
        if let Head::Append { stream, offset, .. } = &mut head {
            *offset = lane.offset_in_store(stream, *offset);
        }
        let mut tries = 1;
        loop {
            match apply(self.store, lane.session(), &head, body.clone()).await {
                Err(error) if error.is_transient() => {
                    self.availability.failed(&error);
                    if tries == TRIES {
                        return Err(error);
                    }
                    tries += 1;
                    tokio::time::sleep(TRY_PAUSE).await;
                }
                answer => {
                    self.availability.answered();
                    return answer;
                }
            }
        }
    }

    /// The store will never take a write. Whether that is the end of the session's journal.
    async fn refused(&self, lane: &Arc<Lane>, found: &Found, error: Error) -> Result<bool, Stopped> {
        let session = lane.session();
        match (&found.head, &error) {
            (_, Error::NotFound(_)) => {
                tracing::warn!(%session, "a session was deleted before the store had everything that the journal kept of it");
                self.blocking(lane, |disk, lane| {
                    disk.discard(lane);
                    Ok(())
                })
                .await?;
                Ok(true)
            }
            (Head::Append { stream, offset, .. }, Error::OffsetMismatch(length)) if lane.shift(stream, *offset, *length) => {
                tracing::error!(%session, stream, offset, length, "a part of a stream was lost with a part of the journal; what follows goes to the stream's end");
                Ok(false)
            }
            // What would follow belongs behind it.
            (Head::Append { .. } | Head::Replace { .. }, _) | (_, Error::StaleEpoch(_)) => {
                let records = lane.records();
                let aside = self.blocking(lane, |disk, lane| disk.set_aside(lane)).await?;
                self.disk.metrics.lost(records);
                tracing::error!(%session, %error, records, path = %aside.display(), "the store refuses what the journal kept of a session; it was set aside");
                Ok(true)
            }
            (head, _) => {
                tracing::error!(%session, ?head, %error, "the store refuses a write that the journal kept; it is lost");
                self.disk.metrics.lost(1);
                lane.given_back();
                Ok(false)
            }
        }
    }

    async fn blocking<T: Send + 'static>(
        &self,
        lane: &Arc<Lane>,
        work: impl FnOnce(&Disk, &Arc<Lane>) -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        let (disk, lane) = (Arc::clone(self.disk), Arc::clone(lane));
        tokio::task::spawn_blocking(move || work(&disk, &lane)).await.unwrap_or_else(|error| Err(io::Error::other(error)))
    }
}
