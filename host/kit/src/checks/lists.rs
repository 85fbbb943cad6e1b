//! Lists of sessions.

use std::collections::BTreeSet;

use agent_host_session::id::SessionId;
use agent_host_session::ports::store::{Error, Store as _};
use agent_host_session::record::SessionRecord;
use anyhow::{Context as _, ensure};

use super::{checks, refused, same};
use crate::scratch::{FIRST, Scratch};

/// Later than any session that was created with the clock: so scratch sessions are first.
const FUTURE: i64 = 8_000_000_000_000;

checks! { "lists", Nothing;
    /// Sessions are listed newest first, by creation time and then by id, with all of their records.
    async fn newest_first(scratch) {
        let store = &scratch.store;
        let mut wanted = Vec::new();
        for number in 0..25 {
            // Three have the same creation time: the id decides.
            wanted.push(scratch.record(&format!("s{number:02}"), FUTURE + number / 3)?);
        }
        for record in &wanted {
            store.create_session(FIRST, record).await?;
        }
        wanted.reverse();
        let found = listed(scratch, 4, async |_| Ok(())).await?;
        same!(found.iter().map(|record| &record.id).collect::<Vec<_>>(), wanted.iter().map(|record| &record.id).collect::<Vec<_>>(), "the order");
        same!(found, wanted, "the records");
    }

    /// A session that is there from the beginning of a listing to its end is in it once, whatever is added and deleted meanwhile.
    async fn stable_under_changes(scratch) {
        let store = &scratch.store;
        let mut kept = BTreeSet::new();
        for number in 0..30 {
            let record = scratch.record(&format!("s{number:02}"), FUTURE + number / 3)?;
            store.create_session(FIRST, &record).await?;
            if number % 5 != 0 {
                kept.insert(record.id);
            }
        }
        let found = listed(scratch, 4, async |page| {
            // One newer than all, one between those that were shown and those that were not, and one is gone.
            store.create_session(FIRST, &scratch.record(&format!("new{page}"), FUTURE + 1_000)?).await?;
            store.create_session(FIRST, &scratch.record(&format!("s14-{page}"), FUTURE + 4)?).await?;
            store.delete_session(FIRST, &scratch.id(&format!("s{:02}", page * 5 % 30))?).await?;
            Ok(())
        })
        .await?;
        let mut seen = BTreeSet::new();
        for record in found {
            ensure!(seen.insert(record.id.clone()), "{} is listed twice", record.id);
        }
        let missing: Vec<&SessionId> = kept.difference(&seen).collect();
        ensure!(missing.is_empty(), "these were there all the time and are not listed: {missing:?}");
    }

    /// A limit of 0 or more than 1000, or a cursor that was never given, is `invalid`; a page has at most as many as asked for.
    async fn limits(scratch) {
        let store = &scratch.store;
        for name in ["a", "b", "c"] {
            store.create_session(FIRST, &scratch.record(name, FUTURE)?).await?;
        }
        for (cursor, limit) in [(None, 0), (None, 1001), (Some("rubbish \0 '"), 10), (Some(""), 10)] {
            refused!(store.list_sessions(cursor, limit).await, Error::Invalid(_), "a list of {limit} from {cursor:?} on");
        }
        for limit in [1, 2, 1000] {
            let page = store.list_sessions(None, limit).await.with_context(|| format!("a list of {limit}"))?;
            ensure!(page.sessions.len() <= limit as usize, "a page of at most {limit} has {}", page.sessions.len());
            ensure!(limit < 3 || page.sessions.len() >= 3, "a page of {limit} has {} of at least three", page.sessions.len());
            ensure!(limit >= 3 || page.next.is_some(), "a page of {limit} says that there are no more");
        }
    }
}

/// The check's own sessions among all that are listed, page by page. `between` is done after each page, whose number it is told.
async fn listed(
    scratch: &Scratch<'_>,
    limit: u32,
    between: impl AsyncFn(usize) -> anyhow::Result<()>,
) -> anyhow::Result<Vec<SessionRecord>> {
    let prefix = scratch.id("")?.to_string();
    let (mut found, mut cursor) = (Vec::new(), None::<String>);
    for page in 0.. {
        let answer = scratch.store.list_sessions(cursor.as_deref(), limit).await?;
        ensure!(answer.sessions.len() <= limit as usize, "a page of at most {limit} has {}", answer.sessions.len());
        found.extend(answer.sessions.into_iter().filter(|record| record.id.as_str().starts_with(&prefix)));
        between(page).await?;
        let Some(next) = answer.next else { break };
        ensure!(cursor.as_ref() != Some(&next), "a page gives the cursor that it was asked with: {next:?}");
        cursor = Some(next);
    }
    Ok(found)
}
