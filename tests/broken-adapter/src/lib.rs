//! The shipped `sql` adapter, breaking one promise: the one that its configuration names by `breaks`. The conformance kit must find each.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::thread;
use std::time::Duration;

use adapter_sql::Sql;
use agent_host_adapter::*;

/// Where instances wait for each other, a granted directory.
const LOCKS: &str = "/locks";

struct Broken {
    sql: Sql,
    breaks: String,
    /// The files that it says are saved.
    files: RefCell<BTreeMap<(String, String), (FileInfo, Vec<u8>)>>,
    /// What it was given, for ever.
    leaked: Vec<Vec<u8>>,
}

export_adapter!(Broken);

thread_local! {
    static NUMBER: Cell<Option<usize>> = const { Cell::new(None) };
}

impl Broken {
    fn breaks(&self, promise: &str) -> bool {
        self.breaks == promise
    }

    /// The epoch that a write has, whatever it carries.
    fn epoch(&self, session: &str, epoch: Epoch) -> Epoch {
        let stored = || self.sql.load_session(session).ok().flatten().map(|found| found.epoch);
        if self.breaks("epochs") { stored().map_or(epoch, |stored| stored.max(epoch)) } else { epoch }
    }

    /// Two locks, which half of the instances take in the other order. The one who comes second waits for the first, who waits for it.
    fn lock(&self) -> Option<[Lock; 2]> {
        if !self.breaks("deadlock") {
            return None;
        }
        let number = NUMBER.get().unwrap_or_else(|| {
            let number = (0..).find(|number| create(&format!("{LOCKS}/instance{number}"))).unwrap_or(0);
            NUMBER.set(Some(number));
            number
        });
        let order = if number % 2 == 0 { ["one", "two"] } else { ["two", "one"] };
        Some(order.map(|name| {
            let lock = Lock::wait(name);
            thread::sleep(Duration::from_millis(20));
            lock
        }))
    }
}

fn create(path: &str) -> bool {
    OpenOptions::new().write(true).create_new(true).open(path).is_ok()
}

struct Lock(String);

impl Lock {
    fn wait(name: &str) -> Self {
        let path = format!("{LOCKS}/{name}");
        while !create(&path) {
            thread::sleep(Duration::from_millis(5));
        }
        Self(path)
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        fs::remove_file(&self.0).expect("a lock that was taken is there");
    }
}

impl Adapter for Broken {
    fn open(config: &Config) -> Result<Self> {
        let breaks = config.get("breaks").unwrap_or_default().to_owned();
        // It knows nothing of promises.
        let sql = Sql::open(&Config::new(Vec::new()))?;
        Ok(Self { sql, breaks, files: RefCell::default(), leaked: Vec::new() })
    }

    fn info(&self) -> AdapterInfo {
        AdapterInfo { name: format!("broken-{}", self.breaks), ..self.sql.info() }
    }

    fn health(&self) -> Result<()> {
        self.sql.health()
    }

    fn create_session(&mut self, epoch: Epoch, session: SessionRecord) -> Result<()> {
        self.sql.create_session(epoch, session)
    }

    fn load_session(&self, id: &str) -> Result<Option<Snapshot>> {
        let mut found = self.sql.load_session(id)?;
        if let Some(found) = &mut found {
            if self.breaks("length") {
                found.streams.iter_mut().for_each(|stream| stream.length += 1);
            }
            let ours = self.files.borrow();
            found.files.extend(ours.iter().filter(|((session, _), _)| session == id).map(|(_, (info, _))| info.clone()));
        }
        Ok(found)
    }

    fn update_session(&mut self, epoch: Epoch, id: &str, changes: SessionChanges) -> Result<()> {
        let updated = self.sql.update_session(self.epoch(id, epoch), id, changes);
        match updated {
            Err(Error::NotFound(text)) if self.breaks("error-kind") => Err(Error::Other(text)),
            updated => updated,
        }
    }

    fn delete_session(&mut self, epoch: Epoch, id: &str) -> Result<()> {
        if self.breaks("deletes") {
            return self.sql.update_session(epoch, id, SessionChanges { last_activity: None, name: None, options: None, extra: None });
        }
        self.sql.delete_session(self.epoch(id, epoch), id)
    }

    fn list_sessions(&self, cursor: Option<&str>, limit: u32) -> Result<Page> {
        if !self.breaks("lists") || limit == 0 || limit > 1000 || cursor.is_some_and(|cursor| cursor.parse::<usize>().is_err()) {
            return self.sql.list_sessions(cursor, limit);
        }
        // A page begins where the one before ended: by its place, which moves when a session is added.
        let skip: usize = cursor.and_then(|cursor| cursor.parse().ok()).unwrap_or(0);
        let mut all = self.sql.list_sessions(None, 1000)?.sessions;
        let sessions: Vec<_> = all.drain(..).skip(skip).take(limit as usize).collect();
        let next = (sessions.len() == limit as usize).then(|| (skip + sessions.len()).to_string());
        Ok(Page { sessions, next })
    }

    fn append(&mut self, epoch: Epoch, session: &str, stream: &str, offset: u64, data: &[u8]) -> Result<u64> {
        let _locks = self.lock();
        let epoch = self.epoch(session, epoch);
        if self.breaks("tail") && data.len() > 1000 {
            self.sql.append(epoch, session, stream, offset, &data[..data.len() - 1])?;
            return Ok(offset + data.len() as u64);
        }
        if self.breaks("bytes") {
            return self.sql.append(epoch, session, stream, offset, String::from_utf8_lossy(data).as_bytes());
        }
        self.sql.append(epoch, session, stream, offset, data)
    }

    fn read(&self, session: &str, stream: &str, offset: u64, max: u32) -> Result<Vec<u8>> {
        self.sql.read(session, stream, offset, max)
    }

    fn replace(&mut self, epoch: Epoch, session: &str, stream: &str, data: Vec<u8>) -> Result<u64> {
        if self.breaks("memory") {
            self.leaked.push(data.clone());
        }
        self.sql.replace(self.epoch(session, epoch), session, stream, data)
    }

    fn save_file(&mut self, epoch: Epoch, session: &str, file: FileInfo, content: Vec<u8>) -> Result<()> {
        if self.breaks("durability") {
            // The check of the epoch, and that the session is there.
            self.sql.delete_file(epoch, session, &file.path)?;
            self.files.borrow_mut().insert((session.to_owned(), file.path.clone()), (file, content));
            return Ok(());
        }
        self.sql.save_file(self.epoch(session, epoch), session, file, content)
    }

    fn read_file(&self, session: &str, path: &str, offset: u64, max: u32) -> Result<Vec<u8>> {
        if let Some((_, content)) = self.files.borrow().get(&(session.to_owned(), path.to_owned())) {
            let rest = content.get(offset as usize..).unwrap_or_default();
            return Ok(rest[..rest.len().min(max as usize)].to_vec());
        }
        self.sql.read_file(session, path, offset, max)
    }

    fn delete_file(&mut self, epoch: Epoch, session: &str, path: &str) -> Result<()> {
        self.files.borrow_mut().remove(&(session.to_owned(), path.to_owned()));
        self.sql.delete_file(self.epoch(session, epoch), session, path)
    }

    fn list_profiles(&self) -> Result<Vec<ProfileSummary>> {
        self.sql.list_profiles()
    }

    fn load_profile(&self, id: &str) -> Result<Option<String>> {
        self.sql.load_profile(id)
    }

    fn save_profile(&mut self, profile: ProfileSummary, document: String) -> Result<()> {
        self.sql.save_profile(profile, document)
    }

    fn delete_profile(&mut self, id: &str) -> Result<()> {
        self.sql.delete_profile(id)
    }
}
