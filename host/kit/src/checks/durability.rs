//! What outlasts an instance.

use agent_host_session::id::Epoch;
use agent_host_session::ports::store::{self, Store as _};
use agent_host_session::record::{RecordChanges, StreamName};
use anyhow::{Context as _, ensure};
use bytes::Bytes;

use super::{checks, same};
use crate::scratch::{FIRST, all_bytes, file, noise};

checks! { "durability", Durability;
    /// What was acknowledged is there when the adapter is thrown away and opened again.
    async fn outlasts_the_instance(scratch) {
        let (id, info, profile) = (scratch.session("s").await?, file("a/ü", &all_bytes(), 1)?, scratch.profile("p", "P")?);
        scratch.store.save_file(FIRST, &id, &info, all_bytes()).await?;
        scratch.store.save_profile(&profile).await?;
        let mut wanted = Vec::new();
        for round in 0..4 {
            // Nothing is told that it ends: the host may be killed.
            let store = scratch.subject.open().await.context("opening the adapter again")?;
            let found = store.load_session(&id).await?.context("the session is gone")?;
            same!(found.files, vec![info.clone()], "the files after it was opened again, {round} times");
            same!(found.streams.iter().map(|(_, length)| *length).sum::<u64>(), wanted.len() as u64, "the length of the stream after it was opened again, {round} times");
            ensure!(store::read_stream(&store, &id, &StreamName::Events, 0).await? == wanted, "the stream has other bytes");
            ensure!(store::read_file(&store, &id, &info.path).await? == all_bytes(), "the file has other bytes");
            same!(store.load_profile(&profile.id).await?, Some(profile.clone()), "the profile");
            let piece = noise(100_000, round);
            store.append(FIRST, &id, &StreamName::Events, wanted.len() as u64, piece.clone()).await?;
            wanted.extend_from_slice(&piece);
        }
    }

    /// The epoch that a session has seen outlasts the instance, and so does what was deleted.
    async fn epochs_and_deletions_outlast_it(scratch) {
        let (id, gone) = (scratch.session("s").await?, scratch.session("gone").await?);
        let info = file("a", b"x", 1)?;
        scratch.store.save_file(FIRST, &id, &info, Bytes::from_static(b"x")).await?;
        scratch.store.update_session(Epoch(7), &id, &RecordChanges::default()).await?;
        scratch.store.delete_file(Epoch(7), &id, &info.path).await?;
        scratch.store.delete_session(FIRST, &gone).await?;
        let store = scratch.subject.open().await.context("opening the adapter again")?;
        let found = store.load_session(&id).await?.context("the session is gone")?;
        same!(found.epoch, Epoch(7), "the epoch after it was opened again");
        ensure!(found.files.is_empty(), "a deleted file is back");
        ensure!(store.load_session(&gone).await?.is_none(), "a deleted session is back");
        let late = store.append(Epoch(6), &id, &StreamName::Events, 0, Bytes::from_static(b"x")).await;
        ensure!(late.is_err(), "a write under an older epoch succeeds after it was opened again");
    }
}
