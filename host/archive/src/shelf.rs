//! The files of a session, and where in them which events are.
//!
//! A session has several files instead of one, so that what is too old can be taken away: the oldest file goes when the others are enough. Chunks follow each other without a gap
//! from the first of the first file to the last of the last.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use agent_host_session::id::Sequence;
use prometheus_client::metrics::gauge::Gauge;
use tempfile::TempPath;
use tokio::time::Instant;

use crate::Limits;

/// Into how many files the bytes and the time of a session are divided: of what it may keep so much is missing at most, and a thousand sessions have 8,000 files.
const PARTS: u32 = 8;

/// A file, which is deleted when nobody needs it any more.
#[derive(Debug)]
pub(crate) struct File {
    path: TempPath,
    bytes: AtomicI64,
    /// Bytes of all files.
    total: Gauge,
}

impl File {
    pub(crate) fn new(path: TempPath, total: Gauge) -> Arc<Self> {
        Arc::new(Self { path, bytes: AtomicI64::new(0), total })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Counts bytes that are about to be written, or were not written after all.
    pub(crate) fn grows(&self, bytes: i64) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        self.total.inc_by(bytes);
    }
}

impl Drop for File {
    fn drop(&mut self) {
        self.total.dec_by(self.bytes.load(Ordering::Relaxed));
    }
}

/// Files that are not needed any more. To be dropped where waiting for the disk does no harm.
pub(crate) type Removed = Vec<Arc<File>>;

/// Where events are.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Chunk {
    pub(crate) first: Sequence,
    pub(crate) count: usize,
    pub(crate) offset: u64,
    pub(crate) length: usize,
    /// When the last of them left memory.
    pub(crate) at: Instant,
}

#[derive(Debug)]
struct Part {
    file: Arc<File>,
    /// One at least.
    chunks: VecDeque<Chunk>,
    length: u64,
    is_full: bool,
}

#[derive(Debug, Default)]
pub(crate) struct Shelf {
    parts: VecDeque<Part>,
    events: usize,
    bytes: u64,
}

impl Shelf {
    /// The number of the first event.
    pub(crate) fn oldest(&self) -> Option<Sequence> {
        self.front().map(|chunk| chunk.first)
    }

    /// When the first chunk left memory.
    pub(crate) fn since(&self) -> Option<Instant> {
        self.front().map(|chunk| chunk.at)
    }

    fn front(&self) -> Option<&Chunk> {
        self.parts.front()?.chunks.front()
    }

    /// Where an event is.
    pub(crate) fn find(&self, sequence: Sequence) -> Option<(Arc<File>, Chunk)> {
        let starts_before = |chunk: &Chunk| chunk.first <= sequence;
        let part = self.parts.iter().rev().find(|part| part.chunks.front().is_some_and(starts_before))?;
        let index = part.chunks.partition_point(starts_before).checked_sub(1)?;
        let chunk = part.chunks.get(index).filter(|chunk| sequence.0 - chunk.first.0 < chunk.count as u64)?;
        Some((Arc::clone(&part.file), *chunk))
    }

    /// The file that is not full yet, and where it ends.
    pub(crate) fn end(&self) -> Option<(Arc<File>, u64)> {
        self.parts.back().filter(|part| !part.is_full).map(|part| (Arc::clone(&part.file), part.length))
    }

    /// Nothing more is written to the last file.
    pub(crate) fn close(&mut self) {
        if let Some(part) = self.parts.back_mut() {
            part.is_full = true;
        }
    }

    /// Adds what was written, and forgets the oldest of what is too much.
    pub(crate) fn add(&mut self, file: Arc<File>, chunk: Chunk, limits: &Limits) -> Removed {
        let length = chunk.offset + chunk.length as u64;
        self.events += chunk.count;
        match self.parts.back_mut().filter(|part| Arc::ptr_eq(&part.file, &file)) {
            Some(part) => {
                self.bytes += length - part.length;
                part.length = length;
                part.chunks.push_back(chunk);
            }
            None => {
                self.bytes += length;
                self.parts.push_back(Part { file, chunks: VecDeque::from([chunk]), length, is_full: false });
            }
        }
        if let Some(part) = self.parts.back_mut() {
            let age = part.chunks.front().map_or(Duration::ZERO, |first| chunk.at.saturating_duration_since(first.at));
            part.is_full = part.length >= limits.bytes / u64::from(PARTS) || age >= limits.age / PARTS;
        }
        let mut removed = Vec::new();
        while self.events > limits.events {
            self.pop_chunk(&mut removed);
        }
        removed
    }

    /// Makes room for so many bytes more.
    pub(crate) fn make_room(&mut self, bytes: u64, limits: &Limits) -> Removed {
        let mut removed = Vec::new();
        while self.bytes + bytes > limits.bytes && self.pop_part(&mut removed) {}
        removed
    }

    /// Forgets what is too old.
    pub(crate) fn expire(&mut self, now: Instant, limits: &Limits) -> Removed {
        let mut removed = Vec::new();
        while self.since().is_some_and(|at| now.saturating_duration_since(at) > limits.age) {
            self.pop_chunk(&mut removed);
        }
        removed
    }

    /// Forgets a file and all before it; nothing, if it was forgotten already.
    pub(crate) fn forget(&mut self, file: &Arc<File>) -> Removed {
        let mut removed = Vec::new();
        if self.parts.iter().any(|part| Arc::ptr_eq(&part.file, file)) {
            while !removed.last().is_some_and(|last| Arc::ptr_eq(last, file)) && self.pop_part(&mut removed) {}
        }
        removed
    }

    /// Forgets the oldest file.
    pub(crate) fn forget_oldest(&mut self) -> Removed {
        let mut removed = Vec::new();
        self.pop_part(&mut removed);
        removed
    }

    /// Forgets everything.
    pub(crate) fn clear(&mut self) -> Removed {
        std::mem::take(self).parts.into_iter().map(|part| part.file).collect()
    }

    fn pop_chunk(&mut self, removed: &mut Removed) {
        let Some(part) = self.parts.front_mut() else { return };
        if part.chunks.len() > 1 {
            self.events -= part.chunks.pop_front().map_or(0, |chunk| chunk.count);
        } else {
            self.pop_part(removed);
        }
    }

    fn pop_part(&mut self, removed: &mut Removed) -> bool {
        let Some(part) = self.parts.pop_front() else { return false };
        self.events -= part.chunks.iter().map(|chunk| chunk.count).sum::<usize>();
        self.bytes -= part.length;
        removed.push(part.file);
        true
    }
}
