//! Names that are valid by construction.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// Why a text is not a valid id.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("invalid {what} {text:?}: {reason}")]
pub struct InvalidId {
    what: &'static str,
    text: String,
    reason: &'static str,
}

/// Longest id in bytes: long enough for any naming scheme, short enough for a database key and a directory name.
pub const MAX_ID_BYTES: usize = 128;

/// Ids of sessions that begin like this are the host's own: clients cannot create such a session.
pub const RESERVED_PREFIX: &str = "agent-host.";

fn check(what: &'static str, text: &str) -> Result<(), InvalidId> {
    let reason = if text.is_empty() {
        "it is empty"
    } else if text.len() > MAX_ID_BYTES {
        "it is longer than 128 bytes"
    } else if text.starts_with('.') {
        "it begins with a dot"
    } else if !text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-')) {
        "only letters, digits, '.', '_' and '-' are allowed"
    } else {
        return Ok(());
    };
    // An id that is refused may be of any size: what is quoted of it is not.
    let text = text.chars().take(MAX_ID_BYTES).collect();
    Err(InvalidId { what, text, reason })
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $what:literal) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(Arc<str>);

        impl $name {
            /// Checks that `text` is 1 to 128 characters out of `A-Z a-z 0-9 . _ -`, not beginning with a dot.
            ///
            /// # Errors
            /// [`InvalidId`] says what is wrong.
            pub fn new(text: impl Into<String>) -> Result<Self, InvalidId> {
                let text = text.into();
                check($what, &text)?;
                Ok(Self(text.into()))
            }

            /// The id as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidId;

            fn try_from(text: String) -> Result<Self, InvalidId> {
                Self::new(text)
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> Self {
                id.as_str().to_owned()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.0, formatter)
            }
        }
    };
}

id!(
    /// Names a session.
    SessionId,
    "session id"
);
id!(
    /// Names a block within its session. Given by the host when the block begins, and never changed.
    BlockId,
    "block id"
);
id!(
    /// Names a user message within its session; the client may choose it, and a repeated one sends nothing twice.
    MessageId,
    "message id"
);
id!(
    /// Names an agent profile.
    ProfileId,
    "profile id"
);
id!(
    /// A conversation within a session: `main`, or a subagent's id.
    ConversationId,
    "conversation id"
);

impl ConversationId {
    /// The conversation with the user.
    pub fn main() -> Self {
        Self(Arc::from("main"))
    }

    /// Whether this is the conversation with the user.
    pub fn is_main(&self) -> bool {
        self.as_str() == "main"
    }
}

impl From<uuid::Uuid> for SessionId {
    fn from(uuid: uuid::Uuid) -> Self {
        Self(uuid.to_string().into())
    }
}

impl From<uuid::Uuid> for BlockId {
    fn from(uuid: uuid::Uuid) -> Self {
        Self(uuid.to_string().into())
    }
}

impl From<uuid::Uuid> for MessageId {
    fn from(uuid: uuid::Uuid) -> Self {
        Self(uuid.to_string().into())
    }
}

impl From<MessageId> for BlockId {
    /// The block of a user message has the message's own id, so that a client can tell its message in the stream.
    fn from(id: MessageId) -> Self {
        Self(id.0)
    }
}

/// Grows whenever a host takes a session over; every write carries it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Epoch(pub u64);

impl Epoch {
    /// The epoch of the write that creates a session.
    pub const FIRST: Self = Self(1);

    /// The epoch of the host that takes the session over next.
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

/// The number of an event in its session: the epoch in the upper bits, a counter without gaps in the lower 32.
///
/// So one number is a whole cursor: it grows for ever, across reloads and hosts, and a number from another epoch is recognised.
/// Below 2^53 (as JavaScript needs) that leaves 2 million epochs of 4 billion events each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Sequence(pub u64);

impl Sequence {
    const COUNTER_BITS: u32 = 32;

    /// The number before the first event of an epoch.
    pub fn before(epoch: Epoch) -> Self {
        Self(epoch.0 << Self::COUNTER_BITS)
    }

    /// The number after this one.
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl fmt::Display for Sequence {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_that_could_leave_their_place_are_refused() {
        for text in ["", ".", "..", ".hidden", "a/b", "a\\b", "a b", "é", "a\0", &"x".repeat(129)] {
            assert!(SessionId::new(text).is_err(), "{text:?} was accepted");
        }
        for text in ["a", "A-b_c.d", "0", &"x".repeat(128)] {
            assert_eq!(SessionId::new(text).unwrap().as_str(), text);
        }
    }

    #[test]
    fn a_refused_id_is_quoted_only_in_part() {
        let error = SessionId::new("/".repeat(1_000_000)).unwrap_err();
        assert!(error.to_string().len() < 400);
    }

    #[test]
    fn sequences_grow_across_epochs() {
        let mut last = Sequence::before(Epoch(1));
        for _ in 0..1000 {
            last = last.next();
        }
        assert!(Sequence::before(Epoch(2)) > last);
        assert!(Sequence::before(Epoch((1 << 21) - 1)).0 < 1 << 53);
    }
}
