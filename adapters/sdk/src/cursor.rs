//! Where a page of a listing ends.

use std::fmt;
use std::str::FromStr;

use crate::{Error, Result, SessionRecord, Timestamp};

/// The place of a session in a listing that is newest first, by creation time and then by id. Both never change, so a listing that goes on
/// behind a cursor misses nothing and repeats nothing, whatever was added meanwhile.
///
/// As text, which is what the host hands back, it is `<created-at>/<id>`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cursor {
    /// When the session was created.
    pub created_at: Timestamp,
    /// The session's id.
    pub id: String,
}

impl From<&SessionRecord> for Cursor {
    fn from(session: &SessionRecord) -> Self {
        Self { created_at: session.created_at, id: session.id.clone() }
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.created_at, self.id)
    }
}

impl FromStr for Cursor {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        text.split_once('/')
            .and_then(|(created_at, id)| Some(Self { created_at: created_at.parse().ok()?, id: id.to_owned() }))
            .ok_or_else(|| Error::invalid(format!("the cursor {text:?} was not given by this adapter")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_reads_back_and_other_text_is_refused() {
        let cursor = Cursor { created_at: 1_795_330_039_110, id: "a-b".to_owned() };
        assert_eq!(cursor.to_string().parse::<Cursor>().unwrap(), cursor);
        for text in ["", "5", "x/a", "-1/a", "/a"] {
            assert!(matches!(text.parse::<Cursor>(), Err(Error::Invalid(_))), "{text:?} was accepted");
        }
    }
}
