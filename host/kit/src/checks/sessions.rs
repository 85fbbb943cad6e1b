//! Sessions' own rows.

use agent_host_session::id::Epoch;
use agent_host_session::origin::Origin;
use agent_host_session::path::RelativePath;
use agent_host_session::ports::store::{Error, Store as _};
use agent_host_session::record::{Options, RecordChanges, SessionRecord, StreamName};
use agent_host_session::time::Timestamp;
use anyhow::{Context as _, ensure};
use bytes::Bytes;

use super::{checks, refused, same};
use crate::scratch::{FIRST, file};

checks! { "sessions", Nothing;
    /// A session comes back as it was created, under the epoch that it was created with.
    async fn comes_back(scratch) {
        let store = &scratch.store;
        let (full, none) = (scratch.record("full", 1_795_330_039_110)?, scratch.id("none")?);
        let bare = SessionRecord { name: None, options: Options::new(), origin: None, ..scratch.record("bare", 1)? };
        ensure!(store.load_session(&none).await?.is_none(), "a session that was never created was found");
        store.create_session(Epoch(7), &full).await.context("creating a session")?;
        store.create_session(FIRST, &bare).await.context("creating a session without a name and options")?;
        for (record, epoch) in [(full, Epoch(7)), (bare, FIRST)] {
            let found = store.load_session(&record.id).await?.context("a session that was created is not found")?;
            same!(found.record, record, "the record");
            same!(found.epoch, epoch, "the epoch");
            ensure!(found.streams.is_empty() && found.files.is_empty(), "a new session has {:?} and {:?}", found.streams, found.files);
        }
    }

    /// An id that is taken is `already-exists`, whatever the record, and stays what it was.
    async fn id_is_taken_once(scratch) {
        let store = &scratch.store;
        let record = scratch.record("s", 1)?;
        store.create_session(FIRST, &record).await?;
        for (epoch, again) in [(FIRST, record.clone()), (Epoch(9), scratch.record("s", 2)?)] {
            refused!(store.create_session(epoch, &again).await, Error::AlreadyExists(_), "creating a session again");
        }
        let found = store.load_session(&record.id).await?.context("the session is gone")?;
        same!((found.record, found.epoch), (record, FIRST), "the session after it was to be created again");
    }

    /// An update changes what it names and leaves all else as it is; one that names nothing changes nothing.
    async fn update_changes_what_it_names(scratch) {
        let store = &scratch.store;
        let mut wanted = scratch.record("s", 1)?;
        store.create_session(FIRST, &wanted).await?;
        let steps = [
            RecordChanges::default(),
            RecordChanges { last_activity: Some(Timestamp::from_millis(99)), ..RecordChanges::default() },
            RecordChanges { name: Some("new ü💡".to_owned()), ..RecordChanges::default() },
            RecordChanges { options: Some(Options::new()), ..RecordChanges::default() },
            RecordChanges { options: Some(wanted.options.clone()), name: Some("both".to_owned()), ..RecordChanges::default() },
            RecordChanges { origin: wanted.origin.clone().map(|origin| Origin { adopted: true, ..origin }), ..RecordChanges::default() },
            RecordChanges { last_activity: Some(Timestamp::from_millis(100)), ..RecordChanges::default() },
        ];
        for changes in steps {
            store.update_session(FIRST, &wanted.id, &changes).await.with_context(|| format!("the update {changes:?}"))?;
            wanted.last_activity = changes.last_activity.unwrap_or(wanted.last_activity);
            wanted.name = changes.name.clone().or(wanted.name);
            wanted.options = changes.options.clone().unwrap_or(wanted.options);
            wanted.origin = changes.origin.clone().or(wanted.origin);
            let found = store.load_session(&wanted.id).await?.context("the session is gone")?;
            same!(found.record, wanted, "the record after the update {changes:?}");
        }
    }

    /// A write to a session that does not exist is `not-found`, and makes none.
    async fn writes_need_a_session(scratch) {
        let (store, nobody) = (&scratch.store, scratch.id("nobody")?);
        let (events, path, x) = (StreamName::Events, RelativePath::new("a")?, Bytes::from_static(b"x"));
        let named = RecordChanges { name: Some("x".to_owned()), ..RecordChanges::default() };
        refused!(store.update_session(FIRST, &nobody, &named).await, Error::NotFound(_), "update-session");
        refused!(store.append(FIRST, &nobody, &events, 0, x.clone()).await, Error::NotFound(_), "append");
        refused!(store.replace(FIRST, &nobody, &events, x.clone()).await, Error::NotFound(_), "replace");
        refused!(store.save_file(FIRST, &nobody, &file("a", b"x", 1)?, x).await, Error::NotFound(_), "save-file");
        refused!(store.read(&nobody, &events, 0, 10).await, Error::NotFound(_), "read");
        refused!(store.read_file(&nobody, &path, 0, 10).await, Error::NotFound(_), "read-file");
        ensure!(store.load_session(&nobody).await?.is_none(), "a write has made a session");
    }

    /// A deleted session leaves nothing behind; deleting it again is a success, and one that is created under its id is new.
    async fn delete_leaves_nothing(scratch) {
        let (store, record) = (&scratch.store, scratch.record("s", 1)?);
        let (id, events, info) = (record.id.clone(), StreamName::Events, file("a", b"x", 1)?);
        store.create_session(Epoch(3), &record).await?;
        store.append(Epoch(3), &id, &events, 0, Bytes::from_static(b"x")).await?;
        store.save_file(Epoch(3), &id, &info, Bytes::from_static(b"x")).await?;
        for _ in 0..2 {
            store.delete_session(Epoch(3), &id).await.context("deleting a session, and once more")?;
        }
        ensure!(store.load_session(&id).await?.is_none(), "a deleted session is found");
        store.create_session(FIRST, &scratch.record("s", 2)?).await.context("creating a session under the id of a deleted one")?;
        let found = store.load_session(&id).await?.context("the new session is not found")?;
        ensure!(found.streams.is_empty() && found.files.is_empty(), "the new session has the old one's {:?} and {:?}", found.streams, found.files);
        same!(found.epoch, FIRST, "the new session's epoch");
        ensure!(store.read(&id, &events, 0, 10).await?.is_empty(), "the new session has the old one's bytes");
        refused!(store.read_file(&id, &info.path, 0, 10).await, Error::NotFound(_), "reading a file of the old session");
    }
}
