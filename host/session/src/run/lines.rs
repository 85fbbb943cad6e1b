//! Splitting an agent's output into lines of bounded length.

use std::io;

use bytes::{Bytes, BytesMut};
use tokio_util::codec::{AnyDelimiterCodec, AnyDelimiterCodecError, Decoder};

/// A line without its newline, or the word that one was too long and was dropped.
pub(super) type Line = Result<Bytes, TooLong>;

/// A line was longer than allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TooLong;

/// [`AnyDelimiterCodec`], for which a line that is too long is an item and not an error: after an error a stream of frames counts as ended.
pub(super) struct LineDecoder(AnyDelimiterCodec);

impl LineDecoder {
    /// Lines of at most `longest` bytes.
    pub(super) fn new(longest: usize) -> Self {
        Self(AnyDelimiterCodec::new_with_max_length(b"\n".to_vec(), Vec::new(), longest))
    }
}

fn item(decoded: Result<Option<Bytes>, AnyDelimiterCodecError>) -> io::Result<Option<Line>> {
    match decoded {
        Ok(line) => Ok(line.map(Ok)),
        Err(AnyDelimiterCodecError::MaxChunkLengthExceeded) => Ok(Some(Err(TooLong))),
        Err(AnyDelimiterCodecError::Io(error)) => Err(error),
    }
}

impl Decoder for LineDecoder {
    type Item = Line;
    type Error = io::Error;

    fn decode(&mut self, buffer: &mut BytesMut) -> io::Result<Option<Line>> {
        item(self.0.decode(buffer))
    }

    fn decode_eof(&mut self, buffer: &mut BytesMut) -> io::Result<Option<Line>> {
        item(self.0.decode_eof(buffer))
    }
}

#[cfg(test)]
mod tests {
    use futures_util::StreamExt as _;
    use tokio_util::codec::FramedRead;

    use super::*;

    #[tokio::test]
    async fn a_line_that_is_too_long_is_dropped_and_the_next_ones_are_read() {
        let mut output = b"first\n".to_vec();
        output.extend(std::iter::repeat_n(b'x', 100_000));
        output.extend(b"\nsecond\n\nlast without newline");
        let lines: Vec<_> = FramedRead::new(output.as_slice(), LineDecoder::new(1000)).map(Result::unwrap).collect().await;
        let expected: [Line; 5] = [Ok("first".into()), Err(TooLong), Ok("second".into()), Ok("".into()), Ok("last without newline".into())];
        assert_eq!(lines, expected);
    }
}
