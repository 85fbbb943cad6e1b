//! Between the domain's words and the contract's. What comes from a component is checked: what cannot be true is [`Error::Corrupt`].

use std::borrow::Cow;
use std::fmt::Display;
use std::ops::RangeBounds;
use std::time::Duration;

use agent_host_session::id::{Epoch, ProfileId, SessionId};
use agent_host_session::origin::Origin;
use agent_host_session::path::RelativePath;
use agent_host_session::ports::store::{Error, Lease, Owner};
use agent_host_session::profile::{Profile, ProfileSummary};
use agent_host_session::record::{FileInfo, Options, Page, RecordChanges, SessionRecord, Snapshot, StreamName};
use agent_host_session::time::Timestamp;
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::bindings::agent_host::types::types as wit;
use crate::bindings::leases::exports::agent_host::persistence::leases;
use crate::call;

/// Numbers of the contract stay below this, so that every language can hold them.
pub(super) const NUMBER_LIMIT: u64 = 1 << 53;

/// Longest cursor in bytes. It passes through URLs.
const MAX_CURSOR_BYTES: usize = 4096;

/// Longest name of an architecture, and of a stream, in bytes: an id and a prefix.
const MAX_WORD_BYTES: usize = 256;

/// Longest error text that is kept, in characters.
const MAX_TEXT_CHARS: usize = 2000;

fn corrupt(what: impl Display) -> Error {
    Error::Corrupt(format!("the adapter gave {what}"))
}

/// What a caller sees of a call that failed.
pub(super) fn error(error: call::Error) -> Error {
    let short = |text: String| if text.len() > MAX_TEXT_CHARS { text.chars().take(MAX_TEXT_CHARS).collect() } else { text };
    let call::Error::Guest { error, .. } = error else {
        // Whether a write took effect is unknown. It may be repeated: that is always safe.
        return Error::Unavailable(error.to_string());
    };
    match error {
        wit::Error::NotFound(text) => Error::NotFound(short(text)),
        wit::Error::AlreadyExists(text) => Error::AlreadyExists(short(text)),
        wit::Error::StaleEpoch(epoch) => Error::StaleEpoch(Epoch(epoch)),
        wit::Error::OffsetMismatch(length) => Error::OffsetMismatch(length),
        wit::Error::Invalid(text) => Error::Invalid(short(text)),
        wit::Error::Unavailable(text) => Error::Unavailable(short(text)),
        wit::Error::Corrupt(text) => Error::Corrupt(short(text)),
        wit::Error::Other(text) => Error::Other(short(text)),
    }
}

fn number(what: &str, number: u64) -> Result<u64, Error> {
    if number < NUMBER_LIMIT { Ok(number) } else { Err(corrupt(format_args!("the {what} {number}, which is not below 2^53"))) }
}

fn time(what: &str, millis: u64) -> Result<Timestamp, Error> {
    let millis = number(what, millis)?;
    // Below 2^53, so it fits.
    Ok(Timestamp::from_millis(i64::try_from(millis).unwrap_or(i64::MAX)))
}

fn time_out(what: &str, time: Timestamp) -> Result<u64, Error> {
    u64::try_from(time.as_millis()).map_err(|_| Error::Invalid(format!("the {what} {time} is before 1970")))
}

fn options(text: Option<String>) -> Result<Options, Error> {
    let Some(text) = text else { return Ok(Options::new()) };
    serde_json::from_str(&text).map_err(|error| corrupt(format_args!("options that are not a JSON object: {error}")))
}

fn options_out(options: &Options) -> Result<String, Error> {
    serde_json::to_string(options).map_err(|error| Error::Invalid(format!("failed to write the options as JSON: {error}")))
}

/// What a record has that is no field of the contract's own.
#[derive(Default, Serialize, Deserialize)]
struct Extra<'a> {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    origin: Option<Cow<'a, Origin>>,
}

fn extra(text: Option<String>) -> Result<Option<Origin>, Error> {
    let Some(text) = text else { return Ok(None) };
    let extra: Extra<'_> =
        serde_json::from_str(&text).map_err(|error| corrupt(format_args!("a record's extra that cannot be read: {error}")))?;
    Ok(extra.origin.map(Cow::into_owned))
}

fn extra_out(origin: &Origin) -> Result<String, Error> {
    let extra = Extra { origin: Some(Cow::Borrowed(origin)) };
    serde_json::to_string(&extra).map_err(|error| Error::Invalid(format!("failed to write the session's origin as JSON: {error}")))
}

pub(crate) fn record(record: &SessionRecord) -> Result<wit::SessionRecord, Error> {
    Ok(wit::SessionRecord {
        id: record.id.to_string(),
        created_at: time_out("creation time", record.created_at)?,
        last_activity: time_out("time of last activity", record.last_activity)?,
        profile: record.profile.to_string(),
        architecture: record.architecture.clone(),
        name: record.name.clone(),
        options: if record.options.is_empty() { None } else { Some(options_out(&record.options)?) },
        extra: record.origin.as_ref().map(extra_out).transpose()?,
    })
}

fn record_in(record: wit::SessionRecord) -> Result<SessionRecord, Error> {
    if record.architecture.len() > MAX_WORD_BYTES {
        return Err(corrupt(format_args!("an architecture of {} bytes", record.architecture.len())));
    }
    Ok(SessionRecord {
        id: SessionId::new(record.id).map_err(corrupt)?,
        created_at: time("creation time", record.created_at)?,
        last_activity: time("time of last activity", record.last_activity)?,
        profile: ProfileId::new(record.profile).map_err(corrupt)?,
        architecture: record.architecture,
        name: record.name,
        options: options(record.options)?,
        origin: extra(record.extra)?,
    })
}

pub(super) fn changes(changes: &RecordChanges) -> Result<wit::SessionChanges, Error> {
    Ok(wit::SessionChanges {
        last_activity: changes.last_activity.map(|time| time_out("time of last activity", time)).transpose()?,
        name: changes.name.clone(),
        options: changes.options.as_ref().map(options_out).transpose()?,
        extra: changes.origin.as_ref().map(extra_out).transpose()?,
    })
}

pub(super) fn snapshot(id: &SessionId, snapshot: wit::Snapshot) -> Result<Snapshot, Error> {
    let record = record_in(snapshot.session)?;
    if record.id != *id {
        return Err(corrupt(format_args!("the session {} when it was asked for {id}", record.id)));
    }
    let mut streams = Vec::with_capacity(snapshot.streams.len());
    for stream in snapshot.streams {
        if stream.name.len() > MAX_WORD_BYTES {
            return Err(corrupt(format_args!("a stream whose name has {} bytes", stream.name.len())));
        }
        let length = number("length of a stream", stream.length)?;
        // A later version's streams are none of this one's business.
        if let Some(name) = StreamName::parse(&stream.name) {
            streams.push((name, length));
        }
    }
    let files = snapshot.files.into_iter().map(file_in).collect::<Result<_, _>>()?;
    Ok(Snapshot { epoch: Epoch(number("epoch", snapshot.epoch)?), record, streams, files })
}

pub(super) fn page(page: wit::Page, limit: u32) -> Result<Page, Error> {
    if page.sessions.len() > limit as usize {
        return Err(corrupt(format_args!("a page of {} sessions when {limit} were asked for", page.sessions.len())));
    }
    if let Some(next) = &page.next
        && next.len() > MAX_CURSOR_BYTES
    {
        return Err(corrupt(format_args!("a cursor of {} bytes", next.len())));
    }
    Ok(Page { sessions: page.sessions.into_iter().map(record_in).collect::<Result<_, _>>()?, next: page.next })
}

pub(super) fn cursor(text: &str) -> Result<String, Error> {
    if text.len() > MAX_CURSOR_BYTES {
        return Err(Error::Invalid(format!("the cursor has {} bytes; {MAX_CURSOR_BYTES} is the limit", text.len())));
    }
    Ok(text.to_owned())
}

/// A stream's length after a write, which must be in `range`.
pub(super) fn length(length: u64, range: impl RangeBounds<u64>) -> Result<u64, Error> {
    let length = number("length of a stream", length)?;
    if range.contains(&length) {
        Ok(length)
    } else {
        Err(corrupt(format_args!("a stream's length of {length} bytes, which cannot be after this write")))
    }
}

/// Bytes that were read, at most `max`.
pub(super) fn data(data: Vec<u8>, max: u32) -> Result<Bytes, Error> {
    if data.len() > max as usize {
        return Err(corrupt(format_args!("{} bytes when {max} were asked for", data.len())));
    }
    Ok(data.into())
}

pub(super) fn file(file: &FileInfo) -> Result<wit::FileInfo, Error> {
    let Some(sha256) = file.sha256.clone() else {
        return Err(Error::Invalid(format!("the file {} has no digest, so its contents are not known", file.path)));
    };
    Ok(wit::FileInfo {
        path: file.path.to_string(),
        size: file.size,
        sha256,
        created_at: time_out("creation time", file.created_at)?,
        modified_at: time_out("modification time", file.modified_at)?,
        extra: None,
    })
}

fn file_in(file: wit::FileInfo) -> Result<FileInfo, Error> {
    let path = RelativePath::new(file.path).map_err(corrupt)?;
    if file.sha256.len() != 64 || !file.sha256.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
        return Err(corrupt(format_args!("a digest of the file {path} that is not 64 lower-case hexadecimal digits")));
    }
    Ok(FileInfo {
        path,
        size: number("size of a file", file.size)?,
        sha256: Some(file.sha256),
        created_at: time("creation time of a file", file.created_at)?,
        modified_at: time("modification time of a file", file.modified_at)?,
    })
}

/// For the contract, which has milliseconds.
pub(super) fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

pub(super) fn owner_out(owner: &Owner) -> leases::Owner {
    leases::Owner { id: owner.id.clone(), address: owner.address.clone() }
}

pub(super) fn lease(lease: leases::Lease) -> Result<Lease, Error> {
    let leases::Lease { owner: leases::Owner { id, address }, expires_in } = lease;
    let expires_in = Duration::from_millis(number("time until a lease ends", expires_in)?);
    Ok(Lease { owner: Owner { id, address }, expires_in })
}

pub(super) fn profile_summary(profile: wit::ProfileSummary) -> Result<ProfileSummary, Error> {
    Ok(ProfileSummary { id: ProfileId::new(profile.id).map_err(corrupt)?, name: profile.name, description: profile.description })
}

pub(super) fn profile(id: &ProfileId, document: &str) -> Result<Profile, Error> {
    let profile: Profile =
        serde_json::from_str(document).map_err(|error| corrupt(format_args!("a profile {id} that is not valid: {error}")))?;
    if profile.id != *id {
        return Err(corrupt(format_args!("the profile {} when it was asked for {id}", profile.id)));
    }
    Ok(profile)
}

pub(super) fn profile_out(profile: &Profile) -> Result<(wit::ProfileSummary, String), Error> {
    let document =
        serde_json::to_string(profile).map_err(|error| Error::Invalid(format!("failed to write the profile as JSON: {error}")))?;
    let ProfileSummary { id, name, description } = profile.summary();
    Ok((wit::ProfileSummary { id: id.into(), name, description }, document))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session() -> wit::SessionRecord {
        wit::SessionRecord {
            id: "a".into(),
            created_at: 1,
            last_activity: 2,
            profile: "p".into(),
            architecture: "echo".into(),
            name: None,
            options: Some("{\"model\":\"x\"}".into()),
            extra: Some("{\"later\":1}".into()),
        }
    }

    fn file() -> wit::FileInfo {
        wit::FileInfo { path: "a/b".into(), size: 3, sha256: "0".repeat(64), created_at: 1, modified_at: 1, extra: None }
    }

    fn load(change: impl FnOnce(&mut wit::Snapshot)) -> Result<Snapshot, Error> {
        let mut found = wit::Snapshot { epoch: 1, session: session(), streams: vec![], files: vec![file()] };
        change(&mut found);
        snapshot(&SessionId::new("a").unwrap(), found)
    }

    #[test]
    fn what_cannot_be_true_is_corrupt() {
        assert!(load(|_| {}).is_ok());
        type Change = fn(&mut wit::Snapshot);
        let rubbish: [(&str, Change); 10] = [
            ("epoch", |found| found.epoch = u64::MAX),
            ("another session", |found| found.session.id = "b".into()),
            ("id", |found| found.session.id = "../b".into()),
            ("time", |found| found.session.created_at = 1 << 53),
            ("options", |found| found.session.options = Some("[1]".into())),
            ("architecture", |found| found.session.architecture = "x".repeat(1000)),
            ("path", |found| found.files[0].path = "../../etc/passwd".into()),
            ("digest", |found| found.files[0].sha256 = "F".repeat(64)),
            ("size", |found| found.files[0].size = u64::MAX),
            ("length", |found| found.streams = vec![wit::StreamInfo { name: "events".into(), length: u64::MAX }]),
        ];
        for (what, change) in rubbish {
            assert!(matches!(load(change), Err(Error::Corrupt(_))), "{what} was believed");
        }
    }

    #[test]
    fn whose_a_session_is_comes_back() {
        let read = |extra: Option<&str>| load(|found| found.session.extra = extra.map(str::to_owned)).map(|found| found.record.origin);
        assert_eq!(read(None).unwrap(), None);
        assert_eq!(read(Some("{\"later\":1}")).unwrap(), None);
        assert!(matches!(read(Some("[")), Err(Error::Corrupt(_))));
        let origin = Origin { adopted: true, ..Origin::new("p", "s").unwrap() };
        assert_eq!(read(Some(&extra_out(&origin).unwrap())).unwrap(), Some(origin.clone()));
        assert_eq!(
            read(Some("{\"origin\":{\"projectKey\":\"p\",\"sessionId\":\"s\",\"later\":1}}")).unwrap(),
            Some(Origin { adopted: false, ..origin })
        );
    }

    #[test]
    fn streams_of_later_versions_are_passed_over() {
        let stream = |name: &str| wit::StreamInfo { name: name.into(), length: 1 };
        let found = load(|found| found.streams = vec![stream("events"), stream("thoughts"), stream("transcript/main")]).unwrap();
        assert_eq!(found.streams, [(StreamName::Events, 1), (StreamName::TranscriptMain, 1)]);
    }

    #[test]
    fn answers_that_are_too_long_are_corrupt() {
        assert!(matches!(data(vec![0; 11], 10), Err(Error::Corrupt(_))));
        assert!(matches!(length(4, 5..), Err(Error::Corrupt(_))));
        let page_of = |sessions: Vec<wit::SessionRecord>, next: Option<String>| page(wit::Page { sessions, next }, 1);
        assert!(page_of(vec![session()], Some("x".into())).is_ok());
        assert!(matches!(page_of(vec![session(), session()], None), Err(Error::Corrupt(_))));
        assert!(matches!(page_of(vec![], Some("x".repeat(10_000))), Err(Error::Corrupt(_))));
    }
}
