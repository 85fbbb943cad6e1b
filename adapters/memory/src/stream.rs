//! The bytes of a stream, in pieces: a long one grows without being copied, for which there might be no room.

/// Bytes in a piece.
const PIECE: usize = 256 * 1024;

/// A stream. All pieces but the last one are full.
#[derive(Default)]
pub(crate) struct Stream {
    pieces: Vec<Vec<u8>>,
}

impl Stream {
    pub(crate) fn len(&self) -> usize {
        self.pieces.last().map_or(0, |last| (self.pieces.len() - 1) * PIECE + last.len())
    }

    pub(crate) fn extend(&mut self, mut data: &[u8]) {
        while !data.is_empty() {
            if self.pieces.last().is_none_or(|last| last.len() == PIECE) {
                self.pieces.push(Vec::new());
            }
            let Some(last) = self.pieces.last_mut() else { return };
            let (head, tail) = data.split_at(data.len().min(PIECE - last.len()));
            last.extend_from_slice(head);
            data = tail;
        }
    }

    /// The bytes from `offset`, at most `max`; none beyond the end.
    pub(crate) fn read(&self, offset: u64, max: usize) -> Vec<u8> {
        let Some(offset) = usize::try_from(offset).ok().filter(|offset| *offset < self.len()) else { return Vec::new() };
        let mut read = Vec::with_capacity(max.min(self.len() - offset));
        let mut skip = offset % PIECE;
        for piece in self.pieces.iter().skip(offset / PIECE) {
            let rest = piece.get(skip..).unwrap_or_default();
            read.extend(rest.iter().take(max - read.len()));
            skip = 0;
            if read.len() == max {
                break;
            }
        }
        read
    }
}

impl From<&[u8]> for Stream {
    fn from(data: &[u8]) -> Self {
        let mut stream = Self::default();
        stream.extend(data);
        stream
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_read_as_it_was_written_over_the_bounds_of_its_pieces() {
        let bytes: Vec<u8> = (0..3 * PIECE + 5).map(|index| (index % 251) as u8).collect();
        let mut stream = Stream::default();
        for part in bytes.chunks(100_003) {
            stream.extend(part);
        }
        assert_eq!(stream.len(), bytes.len());
        for (offset, max) in
            [(0, 1), (0, bytes.len()), (PIECE - 1, 2), (PIECE, PIECE), (PIECE - 1, 2 * PIECE + 3), (3 * PIECE + 4, 9), (5, 0)]
        {
            assert_eq!(stream.read(offset as u64, max), bytes[offset..(offset + max).min(bytes.len())], "{max} from {offset}");
        }
        assert_eq!(stream.read(bytes.len() as u64, 9), []);
        assert_eq!(stream.read(u64::MAX, 9), []);
        assert_eq!(Stream::from(&bytes[..]).read(0, bytes.len()), bytes);
    }
}
