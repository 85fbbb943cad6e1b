//! In which order sessions are listed. It is derived from their directories, and spares reading all records for a page.

use std::collections::BTreeSet;
use std::ops::Bound;
use std::path::PathBuf;

use agent_host_adapter::{Cursor, Error, Result, Timestamp, log};
use serde::{Deserialize, Serialize};

use crate::disk::Scratch;
use crate::journal::{self, Fold, Journal};
use crate::sessions::Directories;

/// Sessions that are put into the order together, when it is derived.
const DERIVED: usize = 1000;

/// A line of the journal.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Line {
    /// When it was written.
    at: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    change: Option<Change>,
    /// When the directory of all sessions was changed last, if all changes are noted: as long as it is so, it need not be looked through. Nanoseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    seen: Option<u64>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
enum Change {
    Created(Place),
    Deleted(Place),
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Place {
    session: String,
    created_at: Timestamp,
}

impl From<Cursor> for Place {
    fn from(Cursor { created_at, id }: Cursor) -> Self {
        Self { session: id, created_at }
    }
}

impl From<Place> for Cursor {
    fn from(Place { session, created_at }: Place) -> Self {
        Self { created_at, id: session }
    }
}

/// The sessions that there are, the oldest first.
#[derive(Debug, Default)]
struct Order {
    places: BTreeSet<Cursor>,
    seen: Option<u64>,
}

impl Fold for Order {
    type Line = Line;

    fn fold(&mut self, Line { change, seen, .. }: Line) {
        match change {
            Some(Change::Created(place)) => drop(self.places.insert(place.into())),
            Some(Change::Deleted(place)) => drop(self.places.remove(&place.into())),
            None => {}
        }
        self.seen = seen;
    }

    fn lines(&self, at: Timestamp) -> impl Iterator<Item = Line> {
        let created = self.places.iter().map(move |place| Line { at, change: Some(Change::Created(place.clone().into())), seen: None });
        created.chain([Line { at, change: None, seen: self.seen }])
    }

    fn size(&self) -> usize {
        1 + self.places.len()
    }
}

pub(crate) struct Listing {
    path: PathBuf,
    journal: Journal<Order>,
    directories: Directories,
    scratch: Scratch,
}

/// Whether the directory of all sessions was known to be what the order says, before it is changed.
pub(crate) struct Known(bool);

impl Listing {
    /// Reads what there is, and puts it right if need be: it does not matter what became of it, or of the sessions' directories, while no adapter looked.
    pub(crate) fn open(path: PathBuf, directories: Directories, scratch: Scratch) -> Result<Self> {
        let mut listing = Self { journal: Journal::new(path.clone()), path, directories, scratch };
        listing.put_right()?;
        Ok(listing)
    }

    fn put_right(&mut self) -> Result<()> {
        let is_there = match self.journal.refresh() {
            Err(Error::Corrupt(reason)) => {
                log::warn!("the order of the sessions is derived anew: {reason}");
                false
            }
            read => read?,
        };
        if !is_there {
            self.scratch.replace(&self.path, b"")?;
            self.journal = Journal::new(self.path.clone());
        }
        let Known(is_right) = self.known()?;
        if !is_right {
            self.derive()?;
        }
        self.shorten();
        Ok(())
    }

    fn derive(&mut self) -> Result<()> {
        let seen = self.directories.changed()?;
        // After the order was read. A session is in its directory before it is in the order, and not there any more before it is out of it: so what
        // another instance does meanwhile is not taken for what is wrong.
        let found = self.directories.ids()?;
        let places = &self.journal.state().places;
        let known: BTreeSet<_> = places.iter().map(|place| place.id.as_str()).collect();
        let missing: Vec<_> = found.iter().filter(|id| !known.contains(id.as_str())).collect();
        let gone: Vec<_> =
            places.iter().filter(|place| !found.contains(&place.id)).map(|place| Change::Deleted(place.clone().into())).collect();
        self.append(gone, None)?;
        // Reading very many records may take longer than there is time: whoever opens it next goes on.
        for ids in missing.chunks(DERIVED) {
            let place = |id: &&String| Some(Place { session: (*id).clone(), created_at: self.directories.created_at(id)? });
            let created: Vec<_> = ids.iter().filter_map(place).map(Change::Created).collect();
            self.append(created, None)?;
        }
        self.journal.append([Line { at: journal::now(), change: None, seen: Some(seen) }])
    }

    fn append(&mut self, changes: Vec<Change>, seen: Option<u64>) -> Result<()> {
        let at = journal::now();
        self.journal.append(changes.into_iter().map(|change| Line { at, change: Some(change), seen }))
    }

    /// To be asked before a session's directory comes or goes.
    pub(crate) fn known(&mut self) -> Result<Known> {
        self.journal.refresh()?;
        let changed = self.directories.changed()?;
        Ok(Known(self.journal.state().seen == Some(changed)))
    }

    /// A session's directory is there.
    pub(crate) fn add(&mut self, place: Cursor, known: Known) {
        self.note(Change::Created(place.into()), known);
    }

    /// A session's directory is gone.
    pub(crate) fn remove(&mut self, place: Cursor, known: Known) {
        self.note(Change::Deleted(place.into()), known);
    }

    fn note(&mut self, change: Change, Known(is_known): Known) {
        let noted = || {
            let seen = if is_known { Some(self.directories.changed()?) } else { None };
            self.append(vec![change], seen)
        };
        match noted() {
            Ok(()) => self.shorten(),
            // The session itself is written, and what is seen is not what was noted.
            Err(error) => log::error!("sessions are listed wrongly until the adapter is opened again: {error:?}"),
        }
    }

    fn shorten(&mut self) {
        if self.journal.is_long() {
            self.journal.shorten(&self.scratch).unwrap_or_else(|error| log::warn!("{} stays long: {error:?}", self.path.display()));
        }
    }

    /// The sessions after `place`, the newest first; from the newest on if it is `None`. It may have some that are not there any more.
    pub(crate) fn after(&mut self, place: Option<&Cursor>) -> Result<impl Iterator<Item = &Cursor>> {
        if !self.journal.refresh()? {
            self.put_right()?;
        }
        let end = place.map_or(Bound::Unbounded, Bound::Excluded);
        Ok(self.journal.state().places.range((Bound::Unbounded, end)).rev())
    }
}
