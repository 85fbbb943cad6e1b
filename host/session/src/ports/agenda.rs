//! The port to the host's own memory of which sessions have something going on, so that a host that was killed takes them up again by itself.
//!
//! What there is to do is in the store, and in the sandboxes that are left: this only says where to look.

use std::collections::BTreeSet;

use parking_lot::Mutex;

use crate::id::SessionId;

/// Sessions in which something is going on. Errors are the implementation's to report: a session that is missing goes on when somebody asks for it.
pub trait Agenda: Send + Sync + 'static {
    /// Something has begun in a session. Returns when the end of the process does not undo it; short enough to be called in the midst of anything.
    fn begin(&self, session: &SessionId);

    /// Nothing goes on in a session any more.
    fn end(&self, session: &SessionId);

    /// The sessions in which something goes on, or went on when the last host ended.
    fn open(&self) -> Vec<SessionId>;
}

/// An agenda that ends with the process.
#[derive(Debug, Default)]
pub struct Forgetful(Mutex<BTreeSet<SessionId>>);

impl Agenda for Forgetful {
    fn begin(&self, session: &SessionId) {
        self.0.lock().insert(session.clone());
    }

    fn end(&self, session: &SessionId) {
        self.0.lock().remove(session);
    }

    fn open(&self) -> Vec<SessionId> {
        self.0.lock().iter().cloned().collect()
    }
}
