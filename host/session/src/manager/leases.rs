//! Sessions of a store that several hosts share: each is taken before it is loaded, and given back when it has left memory.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::MissedTickBehavior;

use super::settings::Leases;
use super::{Error, Manager};
use crate::id::SessionId;
use crate::ports::store::{self, Lease, MAX_RENEW_SESSIONS};
use crate::task::{Command, Context};

/// So many times a lease is prolonged within its time: a store that is away for a moment costs none.
const RENEWALS: u32 = 3;

/// How long a session that has left memory waits for the store to take its lease back, which ends by itself.
const RELEASE: Duration = Duration::from_secs(5);

impl Manager {
    /// Takes a session for this host, if hosts share the store.
    pub(super) async fn acquire(&self, id: &SessionId) -> Result<(), Error> {
        let Some(Leases { owner, ttl }) = &self.context.settings.leases else { return Ok(()) };
        match self.context.store.acquire_lease(id, owner, *ttl).await {
            Ok(lease) if lease.owner.id == owner.id => Ok(()),
            Ok(lease) => Err(Error::Owned { id: id.clone(), address: lease.owner.address, expires_in: lease.expires_in }),
            Err(store::Error::NotFound(_)) => Err(Error::SessionNotFound(id.clone())),
            Err(error) => Err(error.into()),
        }
    }

    /// Does something with a session that this host has taken and does not load, however long it takes: only the leases of loaded sessions are kept otherwise.
    pub(super) async fn keeping<T>(&self, id: &SessionId, work: impl Future<Output = T>) -> T {
        let Some(Leases { owner, ttl }) = &self.context.settings.leases else { return work.await };
        let keep = async {
            loop {
                tokio::time::sleep(*ttl / RENEWALS).await;
                match self.context.store.renew_leases(&owner.id, *ttl, std::slice::from_ref(id)).await {
                    Ok(lost) if lost.is_empty() => {}
                    // Whoever has it now has a later epoch, and the store refuses what comes under this one.
                    Ok(_) => tracing::warn!(session = %id, "the session was taken from this host"),
                    Err(error) => tracing::warn!(session = %id, %error, "failed to prolong the lease of a session, which is tried again"),
                }
            }
        };
        tokio::select! {
            done = work => done,
            never = keep => never,
        }
    }

    /// Of a session that this host has not loaded: whether another one may have it.
    pub(super) async fn check_free(&self, id: &SessionId) -> Result<(), Error> {
        let Some(Leases { owner, .. }) = &self.context.settings.leases else { return Ok(()) };
        match self.context.store.lease(id).await? {
            Some(Lease { owner: other, expires_in }) if other.id != owner.id && !expires_in.is_zero() => {
                Err(Error::Owned { id: id.clone(), address: other.address, expires_in })
            }
            Some(_) | None => Ok(()),
        }
    }

    /// Keeps the leases of the loaded sessions, in the background. A session whose lease another host has taken leaves memory, and writes nothing more.
    pub fn keep_leases(self: &Arc<Self>) {
        let Some(leases) = self.context.settings.leases.clone() else { return };
        let manager = Arc::clone(self);
        // Not one of the tasks that a shutdown waits for: while these end, their leases are still kept.
        tokio::spawn(async move {
            let mut renewal = tokio::time::interval(leases.ttl / RENEWALS);
            renewal.set_missed_tick_behavior(MissedTickBehavior::Delay);
            while !manager.tasks.is_closed() || !manager.tasks.is_empty() {
                renewal.tick().await;
                manager.renew(&leases).await;
            }
        });
    }

    async fn renew(&self, Leases { owner, ttl }: &Leases) {
        let mut sessions: Vec<SessionId> =
            self.sessions.iter().filter(|entry| entry.value().initialized()).map(|entry| entry.key().clone()).collect();
        // Stores that lock rows get them in the same order from everybody.
        sessions.sort_unstable();
        for sessions in sessions.chunks(MAX_RENEW_SESSIONS) {
            match self.context.store.renew_leases(&owner.id, *ttl, sessions).await {
                Ok(lost) => {
                    for id in lost {
                        self.lost(&id).await;
                    }
                }
                Err(error) => {
                    tracing::warn!(%error, sessions = sessions.len(), "failed to prolong the leases of sessions, which is tried again");
                }
            }
        }
    }

    /// There is no lease on the session any more. It may be free, as after its store was copied to another one.
    async fn lost(&self, id: &SessionId) {
        let Some(handle) = self.loaded(id) else { return };
        match self.acquire(id).await {
            Ok(()) => {}
            Err(error @ (Error::Owned { .. } | Error::SessionNotFound(_))) => {
                tracing::warn!(session = %id, %error, "the session was taken from this host, and leaves its memory");
                drop(handle.ask(|reply| Command::Fence { reply }).await);
            }
            Err(error) => tracing::warn!(session = %id, %error, "failed to take a session again"),
        }
    }
}

/// Gives back a session that has left memory.
pub(crate) async fn release(context: &Context, id: &SessionId) {
    let Some(Leases { owner, .. }) = &context.settings.leases else { return };
    let released = tokio::time::timeout(RELEASE, context.store.release_lease(id, &owner.id)).await;
    let error = match released {
        Ok(Ok(())) => return,
        Ok(Err(error)) => error.to_string(),
        Err(_) => format!("the store did not answer within {RELEASE:?}"),
    };
    tracing::warn!(session = %id, error, "failed to give a session back; other hosts can take it when the lease has ended");
}
