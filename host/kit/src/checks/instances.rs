//! Several instances at once, and one for a long time.

use agent_host_session::ports::store::{self, Error, Store as _};
use agent_host_session::record::{RecordChanges, StreamName};
use anyhow::{Context as _, ensure};
use bytes::Bytes;
use futures_util::future::{join_all, try_join_all};

use super::{checks, same};
use crate::scratch::{FIRST, all_bytes, file, noise};

/// Sessions that write at the same time, more than there are instances by default.
const SESSIONS: usize = 24;

/// Appends of each of them.
const APPENDS: usize = 20;

/// What is written and replaced in one instance: so many times as much as it may have in memory.
const TIMES: usize = 3;

checks! { "instances", Nothing;
    /// Sessions that are written at once lose nothing, and whoever reads sees what was acknowledged.
    async fn lose_nothing_at_once(scratch) {
        let store = &scratch.store;
        try_join_all((0..SESSIONS).map(async |number| {
            let id = scratch.session(&format!("s{number}")).await?;
            let (mut length, mut wanted) = (0, Vec::new());
            for index in 0..APPENDS {
                let line = format!("{number}:{index} {}\n", "x".repeat(index * 100)).into_bytes();
                length = store.append(FIRST, &id, &StreamName::Events, length, Bytes::from(line.clone())).await?;
                wanted.extend_from_slice(&line);
                let seen = store.load_session(&id).await?.context("the session is gone")?.streams;
                same!(seen, [(StreamName::Events, wanted.len() as u64)], "the streams after an append was acknowledged");
            }
            ensure!(store::read_stream(store, &id, &StreamName::Events, 0).await? == wanted, "the stream of session {number} has other bytes");
            anyhow::Ok(())
        }))
        .await?;
    }

    /// Writes of all kinds to one session at once end, each in its own way, and none is lost in another.
    async fn one_session_at_once(scratch) {
        let (store, id) = (&scratch.store, scratch.session("s").await?);
        let files = join_all((0..SESSIONS).map(async |number| {
            let content = format!("content {number}").into_bytes();
            store.save_file(FIRST, &id, &file(&format!("f{number}"), &content, 1)?, Bytes::from(content)).await.context("save-file")?;
            let named = RecordChanges { name: Some(format!("name {number}")), ..RecordChanges::default() };
            store.update_session(FIRST, &id, &named).await.context("update-session")?;
            let stream = StreamName::TranscriptSubagent(format!("agent-{number}"));
            store.append(FIRST, &id, &stream, 0, all_bytes()).await.context("append")?;
            anyhow::Ok(())
        }));
        for written in files.await {
            written?;
        }
        let found = store.load_session(&id).await?.context("the session is gone")?;
        same!(found.files.len(), SESSIONS, "the number of files");
        same!(found.streams.iter().filter(|(_, length)| *length == 10_240).count(), SESSIONS, "the number of whole streams");
        ensure!(found.record.name.as_deref().is_some_and(|name| name.starts_with("name ")), "the name is {:?}", found.record.name);
    }

    /// Of several that append other bytes at the same place at once, one succeeds; the others get `offset-mismatch`.
    async fn one_appends_at_a_place(scratch) {
        let (store, id, events) = (&scratch.store, scratch.session("s").await?, StreamName::Events);
        for round in 0..10_u64 {
            let appends = (0..8).map(|number| store.append(FIRST, &id, &events, round, Bytes::from(vec![b'a' + number])));
            let answers = join_all(appends).await;
            let succeeded: Vec<_> = answers.iter().zip(b'a'..).filter(|(answer, _)| answer.is_ok()).map(|(_, byte)| byte).collect();
            let &[byte] = succeeded.as_slice() else {
                anyhow::bail!("{} of 8 that wrote another byte at {round} succeeded", succeeded.len());
            };
            let others = answers.iter().filter(|answer| matches!(answer, Err(Error::OffsetMismatch(length)) if *length == round + 1)).count();
            // One that could not be served at once may say so.
            let away = answers.iter().filter(|answer| matches!(answer, Err(Error::Unavailable(_)))).count();
            ensure!(others + away == 7, "those that came too late were answered by {:?}", answers.iter().filter(|answer| answer.is_err()).collect::<Vec<_>>());
            same!(store.read(&id, &events, round, 10).await?, Bytes::from(vec![byte]), "the byte at {round}");
        }
    }

    /// An instance keeps nothing of what it was given: it serves on, however much went through it.
    async fn memory_does_not_grow(scratch) {
        let store = scratch.subject.open_in(1).await.context("opening the adapter in one instance")?;
        let (id, stream) = (scratch.session("s").await?, StreamName::TranscriptMain);
        if store.load_session(&id).await?.is_none() {
            // It keeps what it has in memory, each instance its own.
            store.create_session(FIRST, &scratch.record("s", 1)?).await?;
        }
        let content = noise(512 * 1024, 5);
        let rounds = TIMES * scratch.subject.memory() / content.len();
        for round in 0..rounds {
            let written = store.replace(FIRST, &id, &stream, content.clone()).await;
            written.with_context(|| format!("replacing a stream of 512 KiB for the {round}th time, in an instance that may have {} MiB", scratch.subject.memory() >> 20))?;
        }
        // One that collects its garbage late may come beyond half of its memory, once.
        let (used_up, memory) = (store.retired(), scratch.subject.memory() >> 20);
        ensure!(used_up <= 1, "replacing a stream of 512 KiB {rounds} times used up the memory of {used_up} instances, each of which may have {memory} MiB");
        ensure!(store::read_stream(&store, &id, &stream, 0).await? == content, "other bytes came back");
    }
}
