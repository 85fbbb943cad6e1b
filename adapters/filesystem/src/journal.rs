//! A file of JSON lines that is only ever added to, and what its lines add up to.
//!
//! A line counts when its last byte, a newline, is there. What a writer that was killed has left behind the last whole line is cut off by the next one.
//! What is held here is believed as long as the file has the same length and time. Otherwise it is read from the last known line on, or anew: another
//! instance (there are two while one takes over from the other) or a person may have changed it.

use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use agent_host_adapter::{Error, Result, Timestamp};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::disk::{self, Scratch, Stamp};

/// Lines that may be there in vain before a journal is written anew: so few that reading them costs little, so many that writing anew is rare.
const VAIN_LINES: usize = 256;

/// What lines add up to.
pub(crate) trait Fold: Default {
    /// A line. It says when it was written, so that no two histories have the same line at the same place.
    type Line: Serialize + DeserializeOwned;

    fn fold(&mut self, line: Self::Line);

    /// The fewest lines that add up to the same, written at this time.
    fn lines(&self, at: Timestamp) -> impl Iterator<Item = Self::Line>;

    /// How many these are.
    fn size(&self) -> usize;
}

pub(crate) struct Journal<S> {
    path: PathBuf,
    state: S,
    /// Lines that there are.
    lines: usize,
    /// Where the last whole line ends.
    end: u64,
    /// That line.
    last: Vec<u8>,
    /// Whether something is behind it.
    is_torn: bool,
    /// The file's when all of this was so.
    stamp: Option<Stamp>,
    /// Whether all of it was made durable by this instance.
    is_durable: bool,
}

impl<S: Fold> Journal<S> {
    /// Of which nothing is known yet.
    pub(crate) fn new(path: PathBuf) -> Self {
        Self { path, state: S::default(), lines: 0, end: 0, last: Vec::new(), is_torn: false, stamp: None, is_durable: false }
    }

    pub(crate) fn state(&self) -> &S {
        &self.state
    }

    pub(crate) fn state_mut(&mut self) -> &mut S {
        &mut self.state
    }

    /// Lines that there are.
    pub(crate) fn lines(&self) -> usize {
        self.lines
    }

    /// Reads what others have written. False if there is no journal, which is the end of all that was known of it.
    pub(crate) fn refresh(&mut self) -> Result<bool> {
        Ok(self.follow()?.is_some())
    }

    /// Reads on, and gives what is new. `None` if there is no journal.
    fn follow(&mut self) -> Result<Option<Vec<u8>>> {
        let stamp = disk::stamp(&self.path)?;
        if stamp.is_some() && stamp == self.stamp {
            return Ok(Some(Vec::new()));
        }
        let known = self.end - self.last.len() as u64;
        let there = disk::read_from(&self.path, known)?;
        let new = match there.as_ref().and_then(|bytes| bytes.strip_prefix(self.last.as_slice())) {
            Some(new) => Some(new.to_vec()),
            // It is another one than it was, or none.
            None => {
                *self = Self::new(std::mem::take(&mut self.path));
                disk::read_from(&self.path, 0)?
            }
        };
        if let Some(new) = &new {
            // Whoever has written it may have been ended before it was durable.
            self.is_durable = false;
            self.fold(new)?;
            self.stamp = stamp;
        }
        Ok(new)
    }

    fn fold(&mut self, mut rest: &[u8]) -> Result<()> {
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            let (line, after) = rest.split_at(end + 1);
            match serde_json::from_slice(line) {
                Ok(line) => self.state.fold(line),
                // After a loss of power, the newline may be there and what is before it not. (What is no JSON; a line that says something unknown is whole.)
                Err(error) if after.is_empty() && !error.is_data() => break,
                Err(error) => {
                    let (path, number) = (self.path.display(), self.lines + 1);
                    return Err(Error::corrupt(format!("line {number} of {path} cannot be read: {error}")));
                }
            }
            self.lines += 1;
            self.end += line.len() as u64;
            self.last.clear();
            self.last.extend_from_slice(line);
            rest = after;
        }
        self.is_torn = !rest.is_empty();
        Ok(())
    }

    /// Adds lines durably.
    pub(crate) fn append(&mut self, lines: impl IntoIterator<Item = S::Line>) -> Result<()> {
        let lines = text(lines)?;
        let stamp = disk::append_lines(&self.path, self.is_torn.then_some(self.end), &lines)?;
        if stamp.length == self.end + lines.len() as u64 {
            self.fold(&lines)?;
            self.stamp = Some(stamp);
            return Ok(());
        }
        // Others have written before.
        let new = self.follow()?.unwrap_or_default();
        if new.windows(lines.len().max(1)).any(|there| there == lines) {
            return Ok(());
        }
        Err(Error::unavailable(format!("{} was changed by somebody else at the same time", self.path.display())))
    }

    /// Whether all that is known of it is durable.
    pub(crate) fn is_durable(&self) -> bool {
        self.is_durable
    }

    /// Makes durable what others have written.
    pub(crate) fn make_durable(&mut self) -> Result<()> {
        disk::sync_file(&self.path)?;
        self.is_durable = true;
        Ok(())
    }

    /// Whether most of its lines are there in vain.
    pub(crate) fn is_long(&self) -> bool {
        self.lines > 2 * self.state.size() + VAIN_LINES
    }

    /// Puts the fewest lines in the place of all lines, unless somebody adds one meanwhile.
    pub(crate) fn shorten(&mut self, scratch: &Scratch) -> Result<()> {
        let new = scratch.path();
        disk::create(&new, &text(self.state.lines(now()))?)?;
        if self.follow()?.is_none_or(|new| !new.is_empty()) {
            return disk::remove_file(&new);
        }
        disk::put(&new, &self.path)?;
        self.refresh().map(drop)
    }
}

/// Writes a journal that is not there yet.
pub(crate) fn create<S: Fold>(path: &Path, state: &S) -> Result<()> {
    disk::create(path, &text(state.lines(now()))?)
}

fn text(lines: impl IntoIterator<Item = impl Serialize>) -> Result<Vec<u8>> {
    let mut text = Vec::new();
    for line in lines {
        serde_json::to_writer(&mut text, &line)
            .map_err(|error| Error::other(format!("failed to write a line of a journal as JSON: {error}")))?;
        text.push(b'\n');
    }
    Ok(text)
}

/// Unix milliseconds.
pub(crate) fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(Timestamp::MAX)
}
