//! The contract's records as JSON. What is absent is left out; what is not known is passed over, so that a server may say more than this version reads.

use agent_host_adapter::{FileInfo, Lease, Owner, ProfileSummary, SessionChanges, SessionRecord, StreamInfo};
use serde::{Deserialize, Serialize};

/// `options` and `extra` are JSON documents as text, as in the contract: what a server need not read it cannot change.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Session {
    id: String,
    created_at: u64,
    last_activity: u64,
    profile: String,
    architecture: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    options: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    extra: Option<String>,
}

impl From<SessionRecord> for Session {
    fn from(record: SessionRecord) -> Self {
        let SessionRecord { id, created_at, last_activity, profile, architecture, name, options, extra } = record;
        Self { id, created_at, last_activity, profile, architecture, name, options, extra }
    }
}

impl From<Session> for SessionRecord {
    fn from(session: Session) -> Self {
        let Session { id, created_at, last_activity, profile, architecture, name, options, extra } = session;
        Self { id, created_at, last_activity, profile, architecture, name, options, extra }
    }
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Changes {
    #[serde(skip_serializing_if = "Option::is_none")]
    last_activity: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    options: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    extra: Option<String>,
}

impl From<SessionChanges> for Changes {
    fn from(changes: SessionChanges) -> Self {
        let SessionChanges { last_activity, name, options, extra } = changes;
        Self { last_activity, name, options, extra }
    }
}

/// A session, with some of its files: those of one page.
#[derive(Debug, Deserialize)]
pub(crate) struct SnapshotPage {
    pub(crate) epoch: u64,
    pub(crate) session: Session,
    pub(crate) streams: Vec<Stream>,
    pub(crate) files: Vec<File>,
    pub(crate) next: Option<String>,
    /// Another one after each write, so that pages of two pictures are not taken for one.
    pub(crate) version: Option<String>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Stream {
    name: String,
    length: u64,
}

impl From<Stream> for StreamInfo {
    fn from(Stream { name, length }: Stream) -> Self {
        Self { name, length }
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct File {
    path: String,
    size: u64,
    sha256: String,
    created_at: u64,
    modified_at: u64,
    extra: Option<String>,
}

impl From<File> for FileInfo {
    fn from(File { path, size, sha256, created_at, modified_at, extra }: File) -> Self {
        Self { path, size, sha256, created_at, modified_at, extra }
    }
}

#[derive(Debug, Deserialize)]
pub(crate) struct SessionPage {
    pub(crate) sessions: Vec<Session>,
    pub(crate) next: Option<String>,
}

/// What a write to a stream gives.
#[derive(Debug, Deserialize)]
pub(crate) struct Written {
    pub(crate) length: u64,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Profiles {
    pub(crate) profiles: Vec<Profile>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Profile {
    id: String,
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<String>,
}

impl From<ProfileSummary> for Profile {
    fn from(ProfileSummary { id, name, description }: ProfileSummary) -> Self {
        Self { id, name, description }
    }
}

impl From<Profile> for ProfileSummary {
    fn from(Profile { id, name, description }: Profile) -> Self {
        Self { id, name, description }
    }
}

/// What is saved of a profile: what lists show, and the document, as text.
#[derive(Debug, Serialize)]
pub(crate) struct ProfileToSave<'a> {
    pub(crate) profile: Profile,
    pub(crate) document: &'a str,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Document {
    pub(crate) document: String,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct LeaseOwner {
    id: String,
    address: String,
}

#[derive(Debug, Serialize)]
pub(crate) struct Acquisition {
    pub(crate) owner: LeaseOwner,
    pub(crate) ttl: u64,
}

impl From<Owner> for LeaseOwner {
    fn from(Owner { id, address }: Owner) -> Self {
        Self { id, address }
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct LeaseInForce {
    owner: LeaseOwner,
    expires_in: u64,
}

impl From<LeaseInForce> for Lease {
    fn from(LeaseInForce { owner: LeaseOwner { id, address }, expires_in }: LeaseInForce) -> Self {
        Self { owner: Owner { id, address }, expires_in }
    }
}

#[derive(Debug, Serialize)]
pub(crate) struct Renewal<'a> {
    pub(crate) owner: &'a str,
    pub(crate) ttl: u64,
    pub(crate) sessions: &'a [String],
}

#[derive(Debug, Deserialize)]
pub(crate) struct Renewed {
    pub(crate) lost: Vec<String>,
}
