#![doc = "A complete adapter, as small as one can be: all in maps, gone when the instance ends."]

use std::collections::BTreeMap;

use agent_host_adapter::*;

/// Everything that there is.
#[derive(Default)]
pub struct Minimal {
    /// By session. The epoch is the highest that a write carried.
    sessions: BTreeMap<String, Snapshot>,
    /// The bytes of streams and files, by session and by name or path. Names of streams are told from paths by a slash before them.
    contents: BTreeMap<(String, String), Vec<u8>>,
    profiles: BTreeMap<String, (ProfileSummary, String)>,
}

export_adapter!(Minimal);

impl Minimal {
    /// The session, if a write with this epoch may change it.
    fn check(&mut self, epoch: Epoch, id: &str) -> Result<&mut Snapshot> {
        let session = self.sessions.get_mut(id).ok_or_else(|| Error::no_such_session(id))?;
        if epoch < session.epoch { Err(Error::StaleEpoch(session.epoch)) } else { Ok(session) }
    }

    /// The session, for a write with this epoch.
    fn claim(&mut self, epoch: Epoch, id: &str) -> Result<&mut Snapshot> {
        let session = self.check(epoch, id)?;
        session.epoch = epoch;
        Ok(session)
    }

    fn stream(&self, session: &str, stream: &str) -> Result<&[u8]> {
        self.sessions.get(session).ok_or_else(|| Error::no_such_session(session))?;
        Ok(self.contents.get(&(session.to_owned(), format!("/{stream}"))).map_or(&[], Vec::as_slice))
    }
}

fn range(bytes: &[u8], offset: u64, max: u32) -> Vec<u8> {
    bytes.iter().skip(offset as usize).take(max as usize).copied().collect()
}

impl Adapter for Minimal {
    fn open(config: &Config) -> Result<Self> {
        config.only(&[])?;
        log::info!("nothing will be kept");
        Ok(Self::default())
    }

    fn info(&self) -> AdapterInfo {
        AdapterInfo { name: "minimal".into(), version: "1.0.0".into(), concurrency: Concurrency::Single, extra: None }
    }

    fn health(&self) -> Result<()> {
        Ok(())
    }

    fn create_session(&mut self, epoch: Epoch, session: SessionRecord) -> Result<()> {
        if self.sessions.contains_key(&session.id) {
            return Err(Error::session_exists(&session.id));
        }
        self.sessions.insert(session.id.clone(), Snapshot { epoch, session, streams: Vec::new(), files: Vec::new() });
        Ok(())
    }

    fn load_session(&self, id: &str) -> Result<Option<Snapshot>> {
        Ok(self.sessions.get(id).cloned())
    }

    fn update_session(&mut self, epoch: Epoch, id: &str, changes: SessionChanges) -> Result<()> {
        let session = &mut self.claim(epoch, id)?.session;
        session.last_activity = changes.last_activity.unwrap_or(session.last_activity);
        session.name = changes.name.or(session.name.take());
        session.options = changes.options.or(session.options.take());
        session.extra = changes.extra.or(session.extra.take());
        Ok(())
    }

    fn delete_session(&mut self, epoch: Epoch, id: &str) -> Result<()> {
        if self.sessions.contains_key(id) {
            self.claim(epoch, id)?;
            self.sessions.remove(id);
            self.contents.retain(|(session, _), _| session != id);
        }
        Ok(())
    }

    fn list_sessions(&self, cursor: Option<&str>, limit: u32) -> Result<Page> {
        let after: Option<Cursor> = cursor.map(str::parse).transpose()?;
        let mut sessions: Vec<_> = self.sessions.values().map(|snapshot| snapshot.session.clone()).collect();
        sessions.sort_by_key(|session| std::cmp::Reverse(Cursor::from(session)));
        sessions.retain(|session| after.as_ref().is_none_or(|after| Cursor::from(session) < *after));
        let more = sessions.len() > limit as usize;
        sessions.truncate(limit as usize);
        let next = sessions.last().filter(|_| more).map(|last| Cursor::from(last).to_string());
        Ok(Page { sessions, next })
    }

    fn append(&mut self, epoch: Epoch, session: &str, stream: &str, offset: u64, data: &[u8]) -> Result<u64> {
        self.check(epoch, session)?;
        let mut stored = self.stream(session, stream)?.to_vec();
        let Append { expected, new } = plan_append(stored.len() as u64, offset, data)?;
        if stored.get(offset as usize..).is_none_or(|stored| !stored.starts_with(expected)) {
            return Err(Error::OffsetMismatch(stored.len() as u64));
        }
        stored.extend_from_slice(new);
        self.replace(epoch, session, stream, stored)
    }

    fn read(&self, session: &str, stream: &str, offset: u64, max: u32) -> Result<Vec<u8>> {
        Ok(range(self.stream(session, stream)?, offset, max))
    }

    fn replace(&mut self, epoch: Epoch, session: &str, stream: &str, data: Vec<u8>) -> Result<u64> {
        let length = data.len() as u64;
        let streams = &mut self.claim(epoch, session)?.streams;
        streams.retain(|info| info.name != stream);
        streams.push(StreamInfo { name: stream.to_owned(), length });
        self.contents.insert((session.to_owned(), format!("/{stream}")), data);
        Ok(length)
    }

    fn save_file(&mut self, epoch: Epoch, session: &str, file: FileInfo, content: Vec<u8>) -> Result<()> {
        self.delete_file(epoch, session, &file.path)?;
        self.contents.insert((session.to_owned(), file.path.clone()), content);
        self.claim(epoch, session)?.files.push(file);
        Ok(())
    }

    fn read_file(&self, session: &str, path: &str, offset: u64, max: u32) -> Result<Vec<u8>> {
        let content = self.contents.get(&(session.to_owned(), path.to_owned()));
        content.map(|content| range(content, offset, max)).ok_or_else(|| Error::no_such_file(session, path))
    }

    fn delete_file(&mut self, epoch: Epoch, session: &str, path: &str) -> Result<()> {
        self.claim(epoch, session)?.files.retain(|info| info.path != path);
        self.contents.remove(&(session.to_owned(), path.to_owned()));
        Ok(())
    }

    fn list_profiles(&self) -> Result<Vec<ProfileSummary>> {
        Ok(self.profiles.values().map(|(summary, _)| summary.clone()).collect())
    }

    fn load_profile(&self, id: &str) -> Result<Option<String>> {
        Ok(self.profiles.get(id).map(|(_, document)| document.clone()))
    }

    fn save_profile(&mut self, profile: ProfileSummary, document: String) -> Result<()> {
        self.profiles.insert(profile.id.clone(), (profile, document));
        Ok(())
    }

    fn delete_profile(&mut self, id: &str) -> Result<()> {
        self.profiles.remove(id);
        Ok(())
    }
}
