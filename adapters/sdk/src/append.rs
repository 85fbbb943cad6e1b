//! What an append means for a stream: a gap, bytes that must already be there, bytes that are new.

use crate::{Error, Result};

/// How to carry out an append that leaves no gap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Append<'a> {
    /// What the stream must already have from the append's offset on. If it has other bytes there, the append is
    /// [`Error::OffsetMismatch`] with the stream's length, and changes nothing.
    pub expected: &'a [u8],
    /// What comes after the stream's end.
    pub new: &'a [u8],
}

/// Says what an append of `data` at `offset` means for a stream of `length` bytes.
///
/// # Errors
/// [`Error::OffsetMismatch`] if `offset` is beyond the stream's end.
pub fn plan_append(length: u64, offset: u64, data: &[u8]) -> Result<Append<'_>> {
    let overlap = length.checked_sub(offset).ok_or(Error::OffsetMismatch(length))?;
    let at = usize::try_from(overlap).unwrap_or(usize::MAX).min(data.len());
    let (expected, new) = data.split_at(at);
    Ok(Append { expected, new })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(length: u64, offset: u64) -> Option<(&'static [u8], &'static [u8])> {
        plan_append(length, offset, b"abcd").ok().map(|append| (append.expected, append.new))
    }

    #[test]
    fn an_append_is_split_where_the_stream_ends() {
        assert_eq!(plan(10, 10), Some((&b""[..], &b"abcd"[..])), "at the end");
        assert_eq!(plan(10, 8), Some((&b"ab"[..], &b"cd"[..])), "partly there");
        assert_eq!(plan(10, 6), Some((&b"abcd"[..], &b""[..])), "all there, up to the end");
        assert_eq!(plan(10, 0), Some((&b"abcd"[..], &b""[..])), "all there, and more behind");
        assert_eq!(plan(0, 0), Some((&b""[..], &b"abcd"[..])), "the first");
    }

    #[test]
    fn a_gap_is_refused_with_the_length() {
        assert_eq!(plan_append(10, 11, b"abcd"), Err(Error::OffsetMismatch(10)));
        assert_eq!(plan_append(10, 11, b""), Err(Error::OffsetMismatch(10)), "even if nothing is appended");
    }
}
