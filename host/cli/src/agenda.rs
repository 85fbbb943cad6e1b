//! The sessions in which something goes on: an empty file each, named as the session, in a directory of the data directory.

use std::fs::{self, File};
use std::io;
use std::path::PathBuf;

use agent_host_session::id::SessionId;
use agent_host_session::ports::agenda::Agenda;
use anyhow::Context as _;

/// An agenda that outlives the process. Not the machine's sudden end: what is lost with that is only that a session goes on by itself.
pub struct Files(PathBuf);

impl Files {
    /// Opens the directory, and makes it if need be.
    pub fn open(path: PathBuf) -> anyhow::Result<Self> {
        fs::create_dir_all(&path).with_context(|| format!("failed to create {}", path.display()))?;
        Ok(Self(path))
    }

    fn check(&self, result: io::Result<()>) {
        if let Err(error) = result {
            tracing::warn!(path = %self.0.display(), %error, "the agenda cannot be kept: after a kill, sessions go on only when somebody asks for them");
        }
    }
}

impl Agenda for Files {
    fn begin(&self, session: &SessionId) {
        // Some microseconds, twice in a turn.
        self.check(File::create(self.0.join(session.as_str())).map(drop));
    }

    fn end(&self, session: &SessionId) {
        match fs::remove_file(self.0.join(session.as_str())) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            removed => self.check(removed),
        }
    }

    fn open(&self) -> Vec<SessionId> {
        let entries = match fs::read_dir(&self.0) {
            Ok(entries) => entries,
            Err(error) => {
                self.check(Err(error));
                return Vec::new();
            }
        };
        entries.flatten().filter_map(|entry| SessionId::new(entry.file_name().into_string().ok()?).ok()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_on_is_known_to_the_next_process() {
        let directory = tempfile::tempdir().unwrap();
        let open = || Files::open(directory.path().join("agenda")).unwrap();
        let (one, two) = (SessionId::new("one").unwrap(), SessionId::new("two-2.x").unwrap());
        let agenda = open();
        agenda.begin(&one);
        agenda.begin(&two);
        agenda.begin(&two);
        agenda.end(&one);
        agenda.end(&one);
        drop(agenda);
        assert_eq!(open().open(), [two]);
    }
}
