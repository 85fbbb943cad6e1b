//! The contract as a store in memory, and calls that are drawn at random to be made of both.

use std::collections::BTreeMap;
use std::fmt;

use agent_host_session::id::Epoch;
use agent_host_session::record::StreamName;
use proptest::collection::vec;
use proptest::prelude::*;

/// Sessions, streams and paths of a sequence: few, so that calls meet.
const SESSIONS: u8 = 2;
const STREAMS: u8 = 3;
const PATHS: [&str; 3] = ["a", "dir/b", "ü💡"];

/// A call, of a session by its number.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Call {
    pub(crate) session: u8,
    pub(crate) epoch: Epoch,
    pub(crate) what: What,
}

/// What is called.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum What {
    Create,
    Update { name: Option<String> },
    Delete,
    Append { stream: StreamName, at: At, data: Vec<u8> },
    Replace { stream: StreamName, data: Vec<u8> },
    SaveFile { path: &'static str, content: Vec<u8> },
    DeleteFile { path: &'static str },
    Load,
    Read { stream: StreamName, offset: u64, max: u32 },
    ReadFile { path: &'static str },
}

/// Where an append begins.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum At {
    /// At the stream's end.
    End,
    /// So many bytes before it.
    Before(u64),
    /// So many bytes beyond it.
    Beyond(u64),
}

impl At {
    fn offset(&self, length: u64) -> u64 {
        match self {
            Self::End => length,
            Self::Before(bytes) => length.saturating_sub(*bytes),
            Self::Beyond(bytes) => length + bytes,
        }
    }
}

impl fmt::Display for Call {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { session, epoch, what } = self;
        match what {
            What::Load | What::Read { .. } | What::ReadFile { .. } => write!(formatter, "session {session}: {what:?}"),
            _ => write!(formatter, "session {session}, epoch {epoch}: {what:?}"),
        }
    }
}

/// What comes of a call, as far as the contract says what that is.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Answer {
    Done,
    Length(u64),
    Bytes(Vec<u8>),
    /// None if there is no such session.
    Session(Option<Seen>),
    NotFound,
    AlreadyExists,
    StaleEpoch(Epoch),
    OffsetMismatch(u64),
    /// The contract foresees no such answer.
    Other(String),
}

/// A session as it is loaded, without what never changes.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Seen {
    pub(crate) epoch: Epoch,
    pub(crate) name: Option<String>,
    /// Streams that have bytes.
    pub(crate) streams: BTreeMap<StreamName, u64>,
    /// Sizes.
    pub(crate) files: BTreeMap<String, u64>,
}

#[derive(Clone, Debug)]
struct Session {
    epoch: Epoch,
    name: Option<String>,
    streams: BTreeMap<StreamName, Vec<u8>>,
    files: BTreeMap<&'static str, Vec<u8>>,
}

/// The contract.
#[derive(Debug, Default)]
pub(crate) struct Model {
    sessions: BTreeMap<u8, Session>,
}

impl Model {
    /// Where an append begins, in bytes.
    pub(crate) fn offset(&self, session: u8, stream: &StreamName, at: &At) -> u64 {
        let stream = self.sessions.get(&session).and_then(|session| session.streams.get(stream));
        at.offset(stream.map_or(0, |bytes| bytes.len() as u64))
    }

    /// The name that a session is created with.
    pub(crate) const NAME: &'static str = "created";

    /// Makes a call, and gives what the contract says.
    pub(crate) fn call(&mut self, Call { session, epoch, what }: &Call) -> Answer {
        if *what == What::Create {
            let new = Session { epoch: *epoch, name: Some(Self::NAME.to_owned()), streams: BTreeMap::new(), files: BTreeMap::new() };
            if self.sessions.contains_key(session) {
                return Answer::AlreadyExists;
            }
            self.sessions.insert(*session, new);
            return Answer::Done;
        }
        let offset = match what {
            What::Append { stream, at, .. } => self.offset(*session, stream, at),
            _ => 0,
        };
        let Some(found) = self.sessions.get_mut(session) else {
            return match what {
                What::Load => Answer::Session(None),
                What::Delete => Answer::Done,
                _ => Answer::NotFound,
            };
        };
        let is_write = !matches!(what, What::Load | What::Read { .. } | What::ReadFile { .. });
        if is_write && *epoch < found.epoch {
            return Answer::StaleEpoch(found.epoch);
        }
        let answer = match what {
            What::Create => Answer::AlreadyExists,
            What::Update { name } => {
                found.name = name.clone().or_else(|| found.name.take());
                Answer::Done
            }
            What::Delete => {
                self.sessions.remove(session);
                return Answer::Done;
            }
            What::Append { stream, data, .. } => append(found.streams.entry(stream.clone()).or_default(), offset, data),
            What::Replace { stream, data } => {
                found.streams.insert(stream.clone(), data.clone());
                Answer::Length(data.len() as u64)
            }
            What::SaveFile { path, content } => {
                found.files.insert(path, content.clone());
                Answer::Done
            }
            What::DeleteFile { path } => {
                found.files.remove(path);
                Answer::Done
            }
            What::Load => Answer::Session(Some(found.seen())),
            What::Read { stream, offset, max } => {
                let bytes = found.streams.get(stream).map_or(&[][..], Vec::as_slice);
                let rest = usize::try_from(*offset).ok().and_then(|offset| bytes.get(offset..)).unwrap_or_default();
                Answer::Bytes(rest.iter().take(*max as usize).copied().collect())
            }
            What::ReadFile { path } => found.files.get(path).map_or(Answer::NotFound, |content| Answer::Bytes(content.clone())),
        };
        // What is refused changes nothing, the epoch included.
        if is_write && !matches!(answer, Answer::OffsetMismatch(_)) {
            found.epoch = *epoch;
        }
        answer
    }
}

impl Session {
    fn seen(&self) -> Seen {
        let length = |bytes: &Vec<u8>| bytes.len() as u64;
        Seen {
            epoch: self.epoch,
            name: self.name.clone(),
            streams: self
                .streams
                .iter()
                .filter(|(_, bytes)| !bytes.is_empty())
                .map(|(name, bytes)| (name.clone(), length(bytes)))
                .collect(),
            files: self.files.iter().map(|(path, content)| ((*path).to_owned(), length(content))).collect(),
        }
    }
}

fn append(there: &mut Vec<u8>, offset: u64, data: &[u8]) -> Answer {
    let length = there.len() as u64;
    let Some(overlap) = usize::try_from(offset).ok().and_then(|offset| there.get(offset..)) else { return Answer::OffsetMismatch(length) };
    let common = overlap.len().min(data.len());
    if overlap.get(..common) != data.get(..common) {
        return Answer::OffsetMismatch(length);
    }
    there.extend_from_slice(data.get(common..).unwrap_or_default());
    Answer::Length(there.len() as u64)
}

/// A sequence of calls. It begins with a session, so that most calls have one.
pub(crate) fn sequences() -> impl Strategy<Value = Vec<Call>> {
    let first = Call { session: 0, epoch: Epoch::FIRST, what: What::Create };
    vec(call(), 1..40).prop_map(move |mut calls| {
        calls.insert(0, first.clone());
        calls
    })
}

fn call() -> impl Strategy<Value = Call> {
    // Older epochs are rare, or nothing else would happen any more.
    let epoch = prop_oneof![6 => Just(3_u64), 1 => 1..=3_u64, 1 => 4..=5_u64];
    (0..SESSIONS, epoch, what()).prop_map(|(session, epoch, what)| Call { session, epoch: Epoch(epoch), what })
}

fn what() -> impl Strategy<Value = What> {
    let stream = || {
        (0..STREAMS).prop_map(|number| match number {
            0 => StreamName::Events,
            1 => StreamName::TranscriptMain,
            _ => StreamName::TranscriptSubagent("agent-a1".to_owned()),
        })
    };
    // Of few letters, so that what is appended over other bytes is often the same.
    let data = || vec(prop_oneof![Just(b'a'), Just(0_u8), Just(0xff_u8)], 0..6);
    let path = || proptest::sample::select(&PATHS[..]);
    let at = prop_oneof![5 => Just(At::End), 3 => (0..6_u64).prop_map(At::Before), 1 => (1..4_u64).prop_map(At::Beyond)];
    prop_oneof![
        2 => Just(What::Create),
        2 => proptest::option::of("[a-zü💡'\"]{1,4}").prop_map(|name| What::Update { name }),
        1 => Just(What::Delete),
        8 => (stream(), at, data()).prop_map(|(stream, at, data)| What::Append { stream, at, data }),
        2 => (stream(), data()).prop_map(|(stream, data)| What::Replace { stream, data }),
        3 => (path(), data()).prop_map(|(path, content)| What::SaveFile { path, content }),
        2 => path().prop_map(|path| What::DeleteFile { path }),
        4 => Just(What::Load),
        3 => (stream(), 0..8_u64, 0..8_u32).prop_map(|(stream, offset, max)| What::Read { stream, offset, max }),
        2 => path().prop_map(|path| What::ReadFile { path }),
    ]
}
