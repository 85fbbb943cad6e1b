//! An adapter that keeps the contract while it is tried in a scratch session, and traps, or answers with an error, in every write of a real one.

use agent_host_adapter::*;

#[derive(Default)]
struct Fickle {
    answers: bool,
    epoch: Epoch,
    session: Option<SessionRecord>,
    events: Vec<u8>,
    file: Option<(FileInfo, Vec<u8>)>,
}

export_adapter!(Fickle);

impl Fickle {
    /// A write to the session: in a scratch session it is made.
    fn write(&mut self, epoch: Epoch, session: &str) -> Result<()> {
        if !session.starts_with("agent-host.scratch.") {
            assert!(self.answers, "as told");
            return Err(Error::Other("as told".to_owned()));
        }
        if epoch < self.epoch {
            return Err(Error::StaleEpoch(self.epoch));
        }
        self.epoch = epoch;
        Ok(())
    }
}

impl Adapter for Fickle {
    fn open(config: &Config) -> Result<Self> {
        Ok(Self { answers: config.get("answers").is_some(), ..Self::default() })
    }

    fn info(&self) -> AdapterInfo {
        AdapterInfo { name: "fickle".to_owned(), version: "1".to_owned(), concurrency: Concurrency::Single, extra: None }
    }

    fn health(&self) -> Result<()> {
        Ok(())
    }

    fn create_session(&mut self, epoch: Epoch, session: SessionRecord) -> Result<()> {
        self.write(epoch, &session.id)?;
        if self.session.is_some() {
            return Err(Error::AlreadyExists(session.id));
        }
        self.session = Some(session);
        Ok(())
    }

    fn load_session(&self, _: &str) -> Result<Option<Snapshot>> {
        let streams = vec![StreamInfo { name: "events".to_owned(), length: self.events.len() as u64 }];
        let files = self.file.iter().map(|(file, _)| file.clone()).collect();
        Ok(self.session.clone().map(|session| Snapshot { epoch: self.epoch, session, streams, files }))
    }

    fn update_session(&mut self, epoch: Epoch, id: &str, changes: SessionChanges) -> Result<()> {
        self.write(epoch, id)?;
        if let Some(session) = &mut self.session {
            session.name = changes.name.or(session.name.take());
        }
        Ok(())
    }

    fn delete_session(&mut self, epoch: Epoch, id: &str) -> Result<()> {
        self.write(epoch, id)?;
        *self = Self { answers: self.answers, ..Self::default() };
        Ok(())
    }

    fn list_sessions(&self, _: Option<&str>, _: u32) -> Result<Page> {
        Ok(Page { sessions: Vec::new(), next: None })
    }

    fn append(&mut self, epoch: Epoch, session: &str, _: &str, offset: u64, data: &[u8]) -> Result<u64> {
        self.write(epoch, session)?;
        if offset > self.events.len() as u64 {
            return Err(Error::OffsetMismatch(self.events.len() as u64));
        }
        self.events = data.to_vec();
        Ok(data.len() as u64)
    }

    fn read(&self, _: &str, _: &str, offset: u64, _: u32) -> Result<Vec<u8>> {
        Ok(self.events[offset as usize..].to_vec())
    }

    fn replace(&mut self, epoch: Epoch, session: &str, _: &str, data: Vec<u8>) -> Result<u64> {
        self.write(epoch, session)?;
        self.events = data;
        Ok(self.events.len() as u64)
    }

    fn save_file(&mut self, epoch: Epoch, session: &str, file: FileInfo, content: Vec<u8>) -> Result<()> {
        self.write(epoch, session)?;
        self.file = Some((file, content));
        Ok(())
    }

    fn read_file(&self, _: &str, _: &str, offset: u64, _: u32) -> Result<Vec<u8>> {
        let content = self.file.as_ref().map(|(_, content)| content[offset as usize..].to_vec());
        Ok(content.unwrap_or_default())
    }

    fn delete_file(&mut self, epoch: Epoch, session: &str, _: &str) -> Result<()> {
        self.write(epoch, session)?;
        self.file = None;
        Ok(())
    }

    fn list_profiles(&self) -> Result<Vec<ProfileSummary>> {
        Ok(Vec::new())
    }

    fn load_profile(&self, _: &str) -> Result<Option<String>> {
        Ok(None)
    }

    fn save_profile(&mut self, _: ProfileSummary, _: String) -> Result<()> {
        Ok(())
    }

    fn delete_profile(&mut self, _: &str) -> Result<()> {
        Ok(())
    }
}
