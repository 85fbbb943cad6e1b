//! Sessions and profiles of one check, which are deleted when it has ended.

use std::collections::BTreeSet;

use agent_host_session::id::{Epoch, ProfileId, SessionId};
use agent_host_session::origin::Origin;
use agent_host_session::path::RelativePath;
use agent_host_session::ports::store::Store;
use agent_host_session::profile::Profile;
use agent_host_session::record::{FileInfo, Options, SessionRecord};
use agent_host_session::time::Timestamp;
use agent_host_wasm::Persistence;
use anyhow::Context as _;
use bytes::Bytes;
use parking_lot::Mutex;
use serde_json::json;
use sha2::{Digest as _, Sha256};

use crate::subject::Subject;

/// The epoch that sessions are created with.
pub(crate) const FIRST: Epoch = Epoch::FIRST;

/// What a check works on.
pub(crate) struct Scratch<'a> {
    pub(crate) subject: &'a Subject,
    /// The adapter, opened for this check.
    pub(crate) store: Persistence,
    /// Random sequences, and what they are drawn from.
    pub(crate) sequences: u32,
    pub(crate) seed: u64,
    prefix: String,
    sessions: Mutex<BTreeSet<SessionId>>,
    profiles: Mutex<BTreeSet<ProfileId>>,
}

impl<'a> Scratch<'a> {
    pub(crate) async fn new(subject: &'a Subject, check: &str, sequences: u32, seed: u64) -> anyhow::Result<Self> {
        let store = subject.open().await.context("failed to open the adapter")?;
        // Ids as random as that are not in use.
        let random = uuid::Uuid::new_v4().simple().to_string();
        let prefix = format!("kit-{}-{check}", random.get(..12).unwrap_or_default());
        Ok(Self { subject, store, sequences, seed, prefix, sessions: Mutex::default(), profiles: Mutex::default() })
    }

    /// The id of a session of this check.
    pub(crate) fn id(&self, name: &str) -> anyhow::Result<SessionId> {
        let id = SessionId::new(format!("{}.{name}", self.prefix))?;
        self.sessions.lock().insert(id.clone());
        Ok(id)
    }

    /// The record of a session of this check, with everything in it that a record can hold.
    pub(crate) fn record(&self, name: &str, created_at: i64) -> anyhow::Result<SessionRecord> {
        let mut options = Options::new();
        options.insert("model".to_owned(), "sonnet".into());
        options.insert("nested".to_owned(), json!({"list": [1, null, "ü💡", true], "deep": {"big": 9_007_199_254_740_991_u64, "": ""}}));
        Ok(SessionRecord {
            id: self.id(name)?,
            created_at: Timestamp::from_millis(created_at),
            last_activity: Timestamp::from_millis(created_at + 1),
            profile: ProfileId::new("default")?,
            architecture: "claude-agent-sdk".to_owned(),
            name: Some("Ünïcödé 💡 'quoted\\'; DROP TABLE sessions; --\n\t\"".to_owned()),
            options,
            origin: Some(Origin::new("project ü💡", "session 'quoted'")?),
        })
    }

    /// Creates a session.
    pub(crate) async fn session(&self, name: &str) -> anyhow::Result<SessionId> {
        let record = self.record(name, 1_795_330_039_110)?;
        self.store.create_session(FIRST, &record).await.context("creating a session")?;
        Ok(record.id)
    }

    /// A profile of this check.
    pub(crate) fn profile(&self, name: &str, text: &str) -> anyhow::Result<Profile> {
        let id = format!("{}.{name}", self.prefix);
        let profile: Profile = serde_json::from_value(
            json!({"id": id, "name": text, "description": "für alle", "systemPrompt": "Be brief.\n'\"\\", "tools": ["Bash"]}),
        )?;
        self.profiles.lock().insert(profile.id.clone());
        Ok(profile)
    }

    /// Profiles of this check among those that are listed.
    pub(crate) fn owns(&self, id: &ProfileId) -> bool {
        id.as_str().starts_with(&self.prefix)
    }

    /// Deletes everything that the check has made.
    pub(crate) async fn clear(&self) -> anyhow::Result<()> {
        let (sessions, profiles) = (std::mem::take(&mut *self.sessions.lock()), std::mem::take(&mut *self.profiles.lock()));
        for id in sessions {
            if let Some(snapshot) = self.store.load_session(&id).await.context("loading a session that is to be deleted")? {
                self.store.delete_session(snapshot.epoch, &id).await.context("deleting a session")?;
            }
        }
        for id in profiles {
            self.store.delete_profile(&id).await.context("deleting a profile")?;
        }
        Ok(())
    }
}

/// A file with these contents.
pub(crate) fn file(path: &str, content: &[u8], time: i64) -> anyhow::Result<FileInfo> {
    use std::fmt::Write as _;
    let mut sha256 = String::with_capacity(64);
    for byte in Sha256::digest(content) {
        write!(sha256, "{byte:02x}")?;
    }
    Ok(FileInfo {
        path: RelativePath::new(path)?,
        size: content.len() as u64,
        sha256: Some(sha256),
        created_at: Timestamp::from_millis(time),
        modified_at: Timestamp::from_millis(time + 1),
    })
}

/// Every byte that there is, NUL and what is no UTF-8 among them, 40 times: 10 KiB.
pub(crate) fn all_bytes() -> Bytes {
    (0..=255_u8).collect::<Vec<_>>().repeat(40).into()
}

/// Bytes in which no piece is like another.
pub(crate) fn noise(length: usize, seed: u64) -> Bytes {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut bytes = vec![0; length];
    random.fill(&mut bytes);
    bytes.into()
}
