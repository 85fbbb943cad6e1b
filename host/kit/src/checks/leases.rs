//! Which host may write a session, where several share the store.

use std::time::Duration;

use agent_host_session::id::{Epoch, SessionId};
use agent_host_session::ports::store::{Error, Owner, Store as _};
use agent_host_session::record::StreamName;
use agent_host_wasm::Persistence;
use anyhow::{Context as _, ensure};
use bytes::Bytes;
use futures_util::future::join_all;

use super::{checks, refused, same};
use crate::scratch::FIRST;

const LONG: Duration = Duration::from_secs(60);

/// Soon over, and longer than a call takes.
const SHORT: Duration = Duration::from_millis(300);

/// Between two looks at whether a lease has ended.
const LOOK: Duration = Duration::from_millis(20);

fn owner(id: &str) -> Owner {
    Owner { id: format!("kit-{id}"), address: format!("http://{id}.example:7777") }
}

/// Waits until a lease has ended by the store's clock.
async fn ended(store: &Persistence, id: &SessionId) -> anyhow::Result<()> {
    while !store.lease(id).await?.context("the lease is gone")?.expires_in.is_zero() {
        tokio::time::sleep(LOOK).await;
    }
    Ok(())
}

checks! { "leases", Leases;
    /// Who has a session keeps it: others are shown the lease in force, its owner may take it again, and a session that does not exist is `not-found`.
    async fn one_owner(scratch) {
        let (store, id) = (&scratch.store, scratch.session("s").await?);
        same!(store.lease(&id).await?, None, "the lease of a session that nobody took");
        let taken = store.acquire_lease(&id, &owner("one"), LONG).await?;
        same!(taken.owner, owner("one"), "the owner after acquire");
        ensure!(taken.expires_in <= LONG && taken.expires_in > LONG / 2, "a lease of {LONG:?} ends in {:?}", taken.expires_in);
        same!(store.acquire_lease(&id, &owner("two"), LONG).await?.owner, owner("one"), "the owner that another one is shown");
        same!(store.lease(&id).await?.map(|lease| lease.owner), Some(owner("one")), "the owner that get shows");
        let moved = Owner { address: "http://elsewhere.example".to_owned(), ..owner("one") };
        same!(store.acquire_lease(&id, &moved, LONG).await?.owner, moved, "the owner after it took the session again, at another address");
        same!(store.load_session(&id).await?.context("the session is gone")?.epoch, FIRST, "the epoch, which nobody has lost");
        let nobody = scratch.id("nobody")?;
        refused!(store.acquire_lease(&nobody, &owner("one"), LONG).await, Error::NotFound(_), "acquire of a session that does not exist");
        same!(store.lease(&nobody).await?, None, "the lease of a session that does not exist");
    }

    /// A released session is free; only its owner can release it.
    async fn release(scratch) {
        let (store, id) = (&scratch.store, scratch.session("s").await?);
        store.acquire_lease(&id, &owner("one"), LONG).await?;
        store.release_lease(&id, &owner("two").id).await.context("release by another one")?;
        same!(store.acquire_lease(&id, &owner("two"), LONG).await?.owner, owner("one"), "the owner after another one released it");
        for _ in 0..2 {
            store.release_lease(&id, &owner("one").id).await.context("release, and once more")?;
        }
        same!(store.lease(&id).await?, None, "the lease after it was released");
        same!(store.acquire_lease(&id, &owner("two"), LONG).await?.owner, owner("two"), "the next owner");
        same!(store.load_session(&id).await?.context("the session is gone")?.epoch, FIRST, "the epoch, as the one before is done");
    }

    /// Whoever takes over a lease that has ended fences the one before: the session's epoch grows by one.
    async fn take_over_fences(scratch) {
        let (store, id, events) = (&scratch.store, scratch.session("s").await?, StreamName::Events);
        store.acquire_lease(&id, &owner("one"), SHORT).await?;
        store.append(Epoch(2), &id, &events, 0, Bytes::from_static(b"1")).await?;
        ended(store, &id).await?;
        store.append(Epoch(2), &id, &events, 1, Bytes::from_static(b"2")).await.context("a write after the lease has ended and before anybody took it")?;
        same!(store.acquire_lease(&id, &owner("two"), LONG).await?.owner, owner("two"), "the owner after a lease that has ended");
        same!(store.load_session(&id).await?.context("the session is gone")?.epoch, Epoch(3), "the epoch after that");
        refused!(store.append(Epoch(2), &id, &events, 2, Bytes::from_static(b"3")).await, Error::StaleEpoch(Epoch(3)), "a write of the owner before");
    }

    /// Leases are prolonged together, also ended ones that nobody has taken; those that are lost are named.
    async fn renew(scratch) {
        let store = &scratch.store;
        let (ours, ended_one, others, free) =
            (scratch.session("a").await?, scratch.session("b").await?, scratch.session("c").await?, scratch.session("d").await?);
        store.acquire_lease(&ours, &owner("one"), LONG).await?;
        store.acquire_lease(&ended_one, &owner("one"), SHORT).await?;
        store.acquire_lease(&others, &owner("two"), LONG).await?;
        ended(store, &ended_one).await?;
        let nobody = scratch.id("nobody")?;
        let asked = [ours.clone(), ended_one.clone(), others.clone(), free.clone(), nobody.clone()];
        let mut lost = store.renew_leases(&owner("one").id, LONG, &asked).await?;
        let mut wanted = vec![others, free, nobody];
        lost.sort();
        wanted.sort();
        same!(lost, wanted, "the sessions that were lost");
        for id in [&ours, &ended_one] {
            same!(store.acquire_lease(id, &owner("two"), LONG).await?.owner, owner("one"), "the owner of a lease that was prolonged");
        }
        same!(store.renew_leases(&owner("one").id, LONG, &[]).await?, Vec::<SessionId>::new(), "what is lost of nothing");
    }

    /// Of many that want a session at once, one gets it, and all others are shown that one.
    async fn one_of_many(scratch) {
        let (store, id) = (&scratch.store, scratch.session("s").await?);
        let owners: Vec<_> = (0..12).map(|number| owner(&format!("host{number}"))).collect();
        let leases = join_all(owners.iter().map(|owner| store.acquire_lease(&id, owner, LONG))).await;
        let mut seen = Vec::new();
        for lease in leases {
            match lease {
                Ok(lease) => seen.push(lease.owner),
                Err(Error::Unavailable(_)) => {}
                Err(error) => return Err(error).context("acquire"),
            }
        }
        let has_it = store.lease(&id).await?.context("nobody has it")?.owner;
        ensure!(!seen.is_empty() && seen.iter().all(|owner| *owner == has_it), "{has_it:?} has it, and these were shown: {seen:?}");
    }
}
