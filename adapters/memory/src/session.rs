//! One session in memory: its record, its streams and its files, each write under an epoch.

use std::collections::BTreeMap;

use agent_host_adapter::{Append, Epoch, Error, FileInfo, Result, SessionChanges, SessionRecord, Snapshot, StreamInfo, plan_append};

use crate::stream::Stream;

/// A session with all that belongs to it.
pub(crate) struct Session {
    /// The highest epoch that a write carried.
    epoch: Epoch,
    record: SessionRecord,
    streams: BTreeMap<String, Stream>,
    files: BTreeMap<String, (FileInfo, Vec<u8>)>,
}

impl Session {
    pub(crate) fn new(epoch: Epoch, record: SessionRecord) -> Self {
        Self { epoch, record, streams: BTreeMap::new(), files: BTreeMap::new() }
    }

    pub(crate) fn record(&self) -> &SessionRecord {
        &self.record
    }

    /// Refuses an epoch that is lower than one that a write carried.
    pub(crate) fn check(&self, epoch: Epoch) -> Result<()> {
        if epoch < self.epoch { Err(Error::StaleEpoch(self.epoch)) } else { Ok(()) }
    }

    pub(crate) fn snapshot(&self) -> Snapshot {
        Snapshot {
            epoch: self.epoch,
            session: self.record.clone(),
            streams: self.streams.iter().map(|(name, data)| StreamInfo { name: name.clone(), length: data.len() as u64 }).collect(),
            files: self.files.values().map(|(info, _)| info.clone()).collect(),
        }
    }

    pub(crate) fn update(&mut self, epoch: Epoch, changes: SessionChanges) {
        let SessionChanges { last_activity, name, options, extra } = changes;
        let record = &mut self.record;
        record.last_activity = last_activity.unwrap_or(record.last_activity);
        record.name = name.or(record.name.take());
        record.options = options.or(record.options.take());
        record.extra = extra.or(record.extra.take());
        self.epoch = epoch;
    }

    /// A stream's bytes from `offset`, at most `max`; none beyond its end, or if it was never written.
    pub(crate) fn read(&self, name: &str, offset: u64, max: u32) -> Vec<u8> {
        self.streams.get(name).map(|stream| stream.read(offset, usize::try_from(max).unwrap_or(usize::MAX))).unwrap_or_default()
    }

    pub(crate) fn append(&mut self, epoch: Epoch, name: &str, offset: u64, data: &[u8]) -> Result<u64> {
        let stored = self.streams.get(name);
        let length = stored.map_or(0, Stream::len) as u64;
        let Append { expected, new } = plan_append(length, offset, data)?;
        if stored.map(|stored| stored.read(offset, expected.len())).unwrap_or_default() != expected {
            return Err(Error::OffsetMismatch(length));
        }
        if !new.is_empty() {
            self.streams.entry(name.to_owned()).or_default().extend(new);
        }
        self.epoch = epoch;
        Ok(length + new.len() as u64)
    }

    pub(crate) fn replace(&mut self, epoch: Epoch, name: &str, data: &[u8]) -> u64 {
        self.epoch = epoch;
        self.streams.insert(name.to_owned(), data.into());
        data.len() as u64
    }

    pub(crate) fn save_file(&mut self, epoch: Epoch, info: FileInfo, content: Vec<u8>) {
        self.epoch = epoch;
        self.files.insert(info.path.clone(), (info, content));
    }

    pub(crate) fn file(&self, path: &str) -> Option<&[u8]> {
        self.files.get(path).map(|(_, content)| content.as_slice())
    }

    pub(crate) fn delete_file(&mut self, epoch: Epoch, path: &str) {
        self.epoch = epoch;
        self.files.remove(path);
    }
}

/// The bytes of `data` from `offset`, at most `max`; none beyond its end.
pub(crate) fn range(data: &[u8], offset: u64, max: u32) -> &[u8] {
    let rest = usize::try_from(offset).ok().and_then(|offset| data.get(offset..)).unwrap_or_default();
    let end = usize::try_from(max).unwrap_or(usize::MAX).min(rest.len());
    rest.get(..end).unwrap_or_default()
}
