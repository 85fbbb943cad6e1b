//! The fence between a host and its successor.

use agent_host_session::id::Epoch;
use agent_host_session::path::RelativePath;
use agent_host_session::ports::store::{Error, Store as _};
use agent_host_session::record::{RecordChanges, StreamName};
use anyhow::{Context as _, ensure};
use bytes::Bytes;

use super::{checks, refused, same};
use crate::scratch::{FIRST, file};

checks! { "epochs", Nothing;
    /// A write with an older epoch than the session has seen is `stale-epoch`, names the newer one, and changes nothing.
    async fn older_is_refused(scratch) {
        let (store, id, path) = (&scratch.store, scratch.session("s").await?, RelativePath::new("a")?);
        let (events, x) = (StreamName::Events, || Bytes::from_static(b"x"));
        store.append(FIRST, &id, &events, 0, Bytes::from_static(b"one")).await?;
        store.save_file(FIRST, &id, &file("a", b"x", 1)?, x()).await?;
        store.append(Epoch(5), &id, &events, 3, Bytes::from_static(b"two")).await.context("the first write under a newer epoch")?;
        let before = store.load_session(&id).await?.context("the session is gone")?;
        same!(before.epoch, Epoch(5), "the epoch after a write with it");
        let old = Epoch(4);
        let named = RecordChanges { name: Some("x".to_owned()), ..RecordChanges::default() };
        refused!(store.update_session(old, &id, &named).await, Error::StaleEpoch(Epoch(5)), "update-session");
        refused!(store.append(old, &id, &events, 6, x()).await, Error::StaleEpoch(Epoch(5)), "append");
        refused!(store.append(old, &id, &events, 0, Bytes::from_static(b"one")).await, Error::StaleEpoch(Epoch(5)), "append of what is there");
        refused!(store.append(old, &id, &events, 99, x()).await, Error::StaleEpoch(Epoch(5)), "append after a gap");
        refused!(store.append(old, &id, &StreamName::TranscriptMain, 0, x()).await, Error::StaleEpoch(Epoch(5)), "append to a new stream");
        refused!(store.replace(old, &id, &events, x()).await, Error::StaleEpoch(Epoch(5)), "replace");
        refused!(store.save_file(old, &id, &file("b", b"x", 1)?, x()).await, Error::StaleEpoch(Epoch(5)), "save-file of a new file");
        refused!(store.save_file(old, &id, &file("a", b"y", 1)?, Bytes::from_static(b"y")).await, Error::StaleEpoch(Epoch(5)), "save-file");
        refused!(store.delete_file(old, &id, &path).await, Error::StaleEpoch(Epoch(5)), "delete-file");
        refused!(store.delete_session(old, &id).await, Error::StaleEpoch(Epoch(5)), "delete-session");
        same!(store.load_session(&id).await?.context("the session is gone")?, before, "the session after all of these");
        same!(store.read(&id, &events, 0, 100).await?, "onetwo", "the stream after all of these");
        same!(store.read_file(&id, &path, 0, 100).await?, "x", "the file after all of these");
    }

    /// Every kind of write takes the session over for its epoch, also one that changes nothing else.
    async fn every_write_takes_over(scratch) {
        let (store, id, path, info) = (&scratch.store, scratch.session("s").await?, RelativePath::new("a")?, file("a", b"y", 1)?);
        let (events, y) = (StreamName::Events, || Bytes::from_static(b"y"));
        let mut epoch = FIRST;
        for kind in ["update-session without changes", "append", "append of what is there", "replace", "save-file", "delete-file", "delete-file of none"] {
            epoch = epoch.next();
            match kind {
                "update-session without changes" => store.update_session(epoch, &id, &RecordChanges::default()).await,
                "append" | "append of what is there" => store.append(epoch, &id, &events, 0, y()).await.map(drop),
                "replace" => store.replace(epoch, &id, &events, Bytes::new()).await.map(drop),
                "save-file" => store.save_file(epoch, &id, &info, y()).await,
                _ => store.delete_file(epoch, &id, &path).await,
            }
            .with_context(|| format!("{kind} under a newer epoch"))?;
            same!(store.load_session(&id).await?.context("the session is gone")?.epoch, epoch, "the epoch after {kind}");
        }
        refused!(store.append(FIRST, &id, &events, 0, y()).await, Error::StaleEpoch(_), "append under the first epoch");
    }

    /// Epochs up to 2^53 - 1 are kept as they are, and belong to one session each.
    async fn are_large_and_apart(scratch) {
        let (store, one, two) = (&scratch.store, scratch.session("one").await?, scratch.session("two").await?);
        let largest = Epoch((1 << 53) - 1);
        store.update_session(largest, &one, &RecordChanges::default()).await?;
        same!(store.load_session(&one).await?.context("the session is gone")?.epoch, largest, "the largest epoch");
        refused!(store.append(Epoch(largest.0 - 1), &one, &StreamName::Events, 0, Bytes::new()).await, Error::StaleEpoch(_), "one less than that");
        same!(store.load_session(&two).await?.context("the session is gone")?.epoch, FIRST, "the other session's epoch");
        store.append(FIRST, &two, &StreamName::Events, 0, Bytes::from_static(b"x")).await.context("writing to the other session")?;
        let appended = store.append(largest, &one, &StreamName::Events, 0, Bytes::from_static(b"x")).await;
        ensure!(appended.is_ok(), "the epoch that the session has is refused: {appended:?}");
    }
}
