//! Append-only bytes.

use agent_host_session::ports::store::{self, Error, MAX_READ_BYTES, Store as _};
use agent_host_session::record::StreamName;
use anyhow::{Context as _, ensure};
use bytes::Bytes;

use super::{checks, refused, same};
use crate::scratch::{FIRST, all_bytes, noise};

/// What a long session of an agent writes.
const LARGE: usize = 100 * 1024 * 1024;

/// In pieces of this size.
const PIECE: usize = 1024 * 1024;

checks! { "streams", Nothing;
    /// Bytes come back as they were appended: NUL, what is no UTF-8, all of them.
    async fn bytes_come_back(scratch) {
        let (store, id) = (&scratch.store, scratch.session("s").await?);
        for stream in [StreamName::Events, StreamName::TranscriptMain, StreamName::TranscriptSubagent("agent-a1".into())] {
            let mut wanted = Vec::new();
            for piece in [all_bytes(), Bytes::from_static(b"\0"), Bytes::from_static(b"\xff\xfe\xc0\x80 \r\n"), Bytes::from("ü💡\u{0}\u{feff}")] {
                let length = store.append(FIRST, &id, &stream, wanted.len() as u64, piece.clone()).await?;
                wanted.extend_from_slice(&piece);
                same!(length, wanted.len() as u64, "the length that append gives");
            }
            let found = store::read_stream(store, &id, &stream, 0).await?;
            ensure!(found == wanted, "other bytes came back: {} for {}, the first that differs at {:?}", found.len(), wanted.len(), first_difference(&found, &wanted));
        }
    }

    /// An append can be repeated: bytes that the stream has at that place are a success and are not doubled.
    async fn append_is_idempotent(scratch) {
        let (store, id, events) = (&scratch.store, scratch.session("s").await?, StreamName::Events);
        let (first, second) = (all_bytes(), Bytes::from_static(b"\xff\xfe\0second"));
        let (length, whole) = (first.len() as u64, (first.len() + second.len()) as u64);
        for _ in 0..3 {
            same!(store.append(FIRST, &id, &events, 0, first.clone()).await.context("an append, repeated")?, length, "the length after an append, repeated");
        }
        for _ in 0..2 {
            same!(store.append(FIRST, &id, &events, length, second.clone()).await?, whole, "the length after the second append, repeated");
        }
        same!(store.append(FIRST, &id, &events, 0, first.clone()).await.context("a late repetition")?, whole, "the length after a late repetition");
        same!(store.append(FIRST, &id, &events, 100, first.slice(100..200)).await.context("a piece of what is there")?, whole, "the length after a piece of what is there");
        same!(store.append(FIRST, &id, &events, whole, Bytes::new()).await.context("nothing, at the end")?, whole, "the length after nothing");
        // Half of it took effect the first time.
        let third = Bytes::from_static(b"third");
        store.append(FIRST, &id, &events, whole, third.slice(..2)).await?;
        same!(store.append(FIRST, &id, &events, whole, third.clone()).await.context("an append of which a part is there")?, whole + 5, "the length after it");
        let wanted = [&first[..], &second[..], &third[..]].concat();
        ensure!(store::read_stream(store, &id, &events, 0).await? == wanted, "the bytes are not those that were appended, once each");
    }

    /// A gap, or other bytes than those that are there, is `offset-mismatch` with the stream's length, and changes nothing.
    async fn append_refuses_gaps_and_differences(scratch) {
        let (store, id, events) = (&scratch.store, scratch.session("s").await?, StreamName::Events);
        refused!(store.append(FIRST, &id, &events, 1, Bytes::from_static(b"x")).await, Error::OffsetMismatch(0), "an append at 1 to an empty stream");
        store.append(FIRST, &id, &events, 0, Bytes::from_static(b"0123456789")).await?;
        for (offset, data) in [(11, "x"), (1_000_000, "x"), (0, "0123456780"), (5, "x"), (9, "xy"), (0, "1"), (9, "9a_")] {
            let result = store.append(FIRST, &id, &events, offset, Bytes::from(data)).await;
            if (offset, data) == (9, "9a_") {
                ensure!(matches!(result, Ok(12)), "{data:?} at {offset}, of which one byte is there, was answered by {result:?}");
                break;
            }
            refused!(result, Error::OffsetMismatch(10), "{data:?} at {offset} of ten digits");
        }
        same!(store.read(&id, &events, 0, 100).await?, "0123456789a_", "the stream after all of these");
    }

    /// A read gives the bytes from its offset: as many as it asks for, fewer only at the end, none beyond; more than 1 MiB is `invalid`.
    async fn read_by_range(scratch) {
        let (store, id, events, content) = (&scratch.store, scratch.session("s").await?, StreamName::Events, all_bytes());
        ensure!(store.read(&id, &events, 0, 10).await?.is_empty(), "a stream that was never written has bytes");
        let mut offset = 0;
        for piece in content.chunks(777) {
            offset = store.append(FIRST, &id, &events, offset, Bytes::copy_from_slice(piece)).await?;
        }
        for (from, max) in [(0, 1), (776, 2), (776, 778), (1, 10_000), (0, MAX_READ_BYTES), (10_239, 10), (10_240, 10), (99_999, 10), (5_000, 0)] {
            let start = usize::try_from(from)?.min(content.len());
            let wanted = content.slice(start..(start + usize::try_from(max)?).min(content.len()));
            let found = store.read(&id, &events, from, max).await?;
            ensure!(found == wanted, "reading {max} from {from} of {} gives {} bytes, expected {}, or others", content.len(), found.len(), wanted.len());
        }
        refused!(store.read(&id, &events, 0, MAX_READ_BYTES + 1).await, Error::Invalid(_), "reading more than 1 MiB");
    }

    /// What replaces a stream is all that it has then, and can be appended to.
    async fn replace(scratch) {
        let (store, id, stream) = (&scratch.store, scratch.session("s").await?, StreamName::TranscriptMain);
        store.append(FIRST, &id, &stream, 0, noise(3_000_000, 1)).await?;
        for content in [noise(1_500_000, 2), Bytes::from_static(b"short")] {
            same!(store.replace(FIRST, &id, &stream, content.clone()).await?, content.len() as u64, "the length that replace gives");
            ensure!(store::read_stream(store, &id, &stream, 0).await? == content, "a stream that was replaced by {} bytes has others", content.len());
        }
        same!(store.append(FIRST, &id, &stream, 5, Bytes::from_static(b" and on")).await?, 12, "the length after an append to it");
        same!(store.replace(FIRST, &id, &stream, Bytes::new()).await?, 0, "the length after it was emptied");
        ensure!(store.read(&id, &stream, 0, 10).await?.is_empty(), "an emptied stream has bytes");
        same!(store.replace(FIRST, &id, &StreamName::Events, Bytes::from_static(b"new")).await?, 3, "the length of a stream that begins by it");
    }

    /// Streams are apart from each other and from those of other sessions, and the snapshot has their lengths.
    async fn are_apart_and_counted(scratch) {
        let (store, one, two) = (&scratch.store, scratch.session("one").await?, scratch.session("two").await?);
        let streams = [StreamName::Events, StreamName::TranscriptMain, StreamName::TranscriptSubagent("x".into()), StreamName::TranscriptSubagent("x-1".into()), StreamName::TranscriptSubagent(".x%2f-1".into())];
        let mut wanted = Vec::new();
        for (length, stream) in (1_u64..).zip(&streams) {
            store.append(FIRST, &one, stream, 0, Bytes::from("x".repeat(usize::try_from(length)?))).await?;
            wanted.push((stream.clone(), length));
        }
        store.append(FIRST, &two, &StreamName::Events, 0, Bytes::from_static(b"other")).await?;
        let mut found = store.load_session(&one).await?.context("the session is gone")?.streams;
        found.sort();
        wanted.sort();
        same!(found, wanted, "the streams of the snapshot");
        same!(store.load_session(&two).await?.context("the session is gone")?.streams, [(StreamName::Events, 5)], "the other session's");
    }

    /// A transcript of 100 MB comes back byte for byte, appended and read in pieces.
    async fn large(scratch) {
        let (store, id, stream) = (&scratch.store, scratch.session("s").await?, StreamName::TranscriptMain);
        let content = noise(LARGE, 3);
        let mut offset = 0;
        while let Some(piece) = piece(&content, offset) {
            offset = store.append(FIRST, &id, &stream, offset, piece).await.with_context(|| format!("appending at {offset}"))?;
        }
        same!(offset, LARGE as u64, "the length after the last append");
        same!(store.load_session(&id).await?.context("the session is gone")?.streams, [(stream.clone(), LARGE as u64)], "the length in the snapshot");
        let mut read = 0;
        while let Some(wanted) = piece(&content, read) {
            let found = store.read(&id, &stream, read, MAX_READ_BYTES).await.with_context(|| format!("reading at {read}"))?;
            ensure!(found == wanted, "other bytes came back from {read} on");
            read += found.len() as u64;
        }
        let middle = LARGE as u64 / 2 + 12_345;
        ensure!(store.read(&id, &stream, middle, 1_000).await? == content.slice(middle as usize..middle as usize + 1_000), "other bytes came back from the middle");
    }
}

fn piece(content: &Bytes, offset: u64) -> Option<Bytes> {
    let start = usize::try_from(offset).ok().filter(|start| *start < content.len())?;
    Some(content.slice(start..(start + PIECE).min(content.len())))
}

fn first_difference(one: &[u8], other: &[u8]) -> Option<usize> {
    let differs = one.iter().zip(other).position(|(one, other)| one != other);
    differs.or((one.len() != other.len()).then(|| one.len().min(other.len())))
}
