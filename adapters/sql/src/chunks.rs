//! Contents of streams and files as rows of bytes: `start` (the place of the first byte) and `data`.

use agent_host_adapter::sql::{Row, Rows};
use agent_host_adapter::{Error, Result};

/// The most bytes of one row. A read of a range takes rows as wholes, so this bounds what it takes in vain at either end; and it keeps a row far
/// below what databases and the host's pages of rows can hold.
const CHUNK_BYTES: usize = 256 * 1024;

/// Cuts `data`, which begins at `start`, into rows.
pub(crate) fn cut(start: u64, data: &[u8]) -> impl Iterator<Item = (u64, &[u8])> {
    data.chunks(CHUNK_BYTES).scan(start, |next, chunk| {
        let start = *next;
        *next += chunk.len() as u64;
        Some((start, chunk))
    })
}

/// The bytes from `offset`, at most `max`, out of the rows that hold them, in order. A single row of nulls says that there is a stream or file, but
/// nothing of it at that place; `None` is given for no row at all.
pub(crate) fn collect(rows: Rows, offset: u64, max: usize) -> Result<Option<Vec<u8>>> {
    assemble(rows.map(chunk), offset, max)
}

fn chunk(mut row: Row) -> Result<Option<(u64, Vec<u8>)>> {
    let (start, data) = (row.take::<Option<u64>>("start")?, row.take::<Option<Vec<u8>>>("data")?);
    Ok(start.zip(data))
}

fn assemble(chunks: impl Iterator<Item = Result<Option<(u64, Vec<u8>)>>>, offset: u64, max: usize) -> Result<Option<Vec<u8>>> {
    let mut content = None;
    let mut end = None;
    for chunk in chunks {
        let content = content.get_or_insert_with(Vec::new);
        let Some((start, mut data)) = chunk? else { continue };
        if end.is_some_and(|end| end != start) || (end.is_none() && start > offset) {
            let end = end.unwrap_or(offset);
            return Err(Error::corrupt(format!("the stored bytes end at {end} and go on at {start}")));
        }
        end = Some(start + data.len() as u64);
        // Only the first row can begin before the range.
        let skip = usize::try_from(offset.saturating_sub(start)).unwrap_or(usize::MAX).min(data.len());
        let room = max.saturating_sub(content.len());
        data.truncate(skip.saturating_add(room));
        if content.is_empty() && skip == 0 {
            *content = data;
        } else {
            content.extend_from_slice(data.get(skip..).unwrap_or_default());
        }
    }
    Ok(content)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(chunks: &[(u64, &[u8])], offset: u64, max: usize) -> Result<Option<Vec<u8>>> {
        assemble(chunks.iter().map(|(start, data)| Ok(Some((*start, data.to_vec())))), offset, max)
    }

    #[test]
    fn what_was_cut_is_put_together_again() {
        let data: Vec<u8> = (0..2 * CHUNK_BYTES + 7).map(|index| (index % 251) as u8).collect();
        let chunks: Vec<_> = cut(100, &data).collect();
        assert_eq!(
            chunks.iter().map(|(start, _)| *start).collect::<Vec<_>>(),
            [100, 100 + CHUNK_BYTES as u64, 100 + 2 * CHUNK_BYTES as u64]
        );
        assert_eq!(read(&chunks, 100, usize::MAX).unwrap().unwrap(), data);
        assert_eq!(read(&chunks, 103, 2 * CHUNK_BYTES).unwrap().unwrap(), data[3..2 * CHUNK_BYTES + 3]);
    }

    #[test]
    fn a_range_is_taken_across_rows() {
        let chunks: [(u64, &[u8]); 3] = [(0, b"abc"), (3, b"d"), (4, b"efgh")];
        for offset in 0..8_u64 {
            for max in 0..10 {
                let end = (offset as usize + max).min(8);
                let from = chunks.iter().rposition(|(start, _)| *start <= offset).unwrap();
                let got = read(&chunks[from..], offset, max).unwrap().unwrap();
                assert_eq!(got, b"abcdefgh"[offset as usize..end], "{max} bytes at {offset}");
            }
        }
        assert_eq!(read(&chunks[2..], 8, 5).unwrap().unwrap(), b"", "at the end");
        assert_eq!(read(&chunks[2..], 9, 5).unwrap().unwrap(), b"", "beyond the end");
    }

    #[test]
    fn nothing_stored_is_told_from_no_stream() {
        assert_eq!(assemble([Ok(None)].into_iter(), 0, 5), Ok(Some(Vec::new())));
        assert_eq!(assemble([].into_iter(), 0, 5), Ok(None));
    }

    #[test]
    fn a_hole_is_corrupt() {
        assert!(matches!(read(&[(0, b"abc"), (4, b"e")], 0, 9), Err(Error::Corrupt(_))));
        assert!(matches!(read(&[(4, b"e")], 2, 9), Err(Error::Corrupt(_))));
    }
}
