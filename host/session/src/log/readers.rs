//! Where the readers of a log are, for those who watch the host.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use super::Shared;
use super::sync::{Mutex, MutexGuard};
use crate::id::Sequence;

/// A reader's place, which it tells after each batch that it takes.
#[derive(Debug)]
pub(super) struct Place(AtomicU64);

impl Place {
    pub(super) fn is_now(&self, cursor: Sequence) {
        // It is looked at, and nothing follows from it.
        self.0.store(cursor.0, Ordering::Relaxed);
    }
}

/// The places of all readers that there are.
#[derive(Debug, Default)]
pub(super) struct Readers(Mutex<Vec<Weak<Place>>>);

impl Readers {
    pub(super) fn add(&self, cursor: Sequence) -> Arc<Place> {
        let place = Arc::new(Place(AtomicU64::new(cursor.0)));
        let mut places = self.places();
        places.retain(|place| place.strong_count() > 0);
        places.push(Arc::downgrade(&place));
        place
    }

    fn places(&self) -> MutexGuard<'_, Vec<Weak<Place>>> {
        // Each change leaves the list whole.
        self.0.lock()
    }
}

/// Sees how far the readers of a log are behind.
#[derive(Clone)]
pub(crate) struct Observer(Arc<Shared>);

impl Observer {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self(shared)
    }

    /// For each reader, how many events it could read that it has not read yet.
    pub(crate) fn behind(&self) -> Vec<u64> {
        let visible = self.0.ring().visible;
        let places = self.0.readers.places();
        let cursors = places.iter().filter_map(Weak::upgrade).map(|place| place.0.load(Ordering::Relaxed));
        cursors.map(|cursor| visible.0.saturating_sub(cursor)).collect()
    }
}

impl fmt::Debug for Observer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("Observer").field(&self.behind()).finish()
    }
}
