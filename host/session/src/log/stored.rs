//! The word that events are kept by the hooks, upon which others may see them.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::Writer;
use crate::id::Sequence;

/// Holds events back until the hooks have them where the end of the host cannot take them away.
///
/// Dropped without that word, they are seen nevertheless: sessions go on without hooks, and the log of the host says so.
pub struct Stored {
    writer: Arc<Writer>,
    last: Sequence,
    is_stored: bool,
}

impl Stored {
    pub(super) fn new(writer: Arc<Writer>, last: Sequence) -> Self {
        Self { writer, last, is_stored: false }
    }

    /// They are kept. They can be seen as soon as those before them can be.
    pub fn done(mut self) {
        self.is_stored = true;
    }
}

impl Drop for Stored {
    fn drop(&mut self) {
        let was_broken = self.writer.spool_is_broken.swap(!self.is_stored, Ordering::Relaxed);
        if !self.is_stored && !was_broken {
            tracing::error!(session = %self.writer.session, "events could not be kept for the hooks, which may miss some; the session goes on");
        }
        let mut ring = self.writer.shared.ring();
        let before = ring.visible;
        ring.reveal(self.last);
        let visible = ring.visible;
        drop(ring);
        if visible != before {
            // Two batches may come here at once, and in any order.
            self.writer.visible.send_if_modified(|shown| {
                let is_new = visible > *shown;
                *shown = visible.max(*shown);
                is_new
            });
        }
    }
}

impl fmt::Debug for Stored {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Stored").field("session", &self.writer.session).field("last", &self.last).finish_non_exhaustive()
    }
}
