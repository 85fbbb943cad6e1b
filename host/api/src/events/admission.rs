//! Streams that wait for their key. A browser's `EventSource` cannot send headers, and a key in a URL would be in every log on the way: so a stream may be opened
//! without one, is told nothing but a random id of its own, and begins when a request that has the key names that id. A WebSocket gets its key in its first frame likewise.

use std::collections::HashMap;

use agent_host_session::id::SessionId;
use parking_lot::Mutex;
use tokio::sync::oneshot;
use uuid::Uuid;

/// The streams that wait. Each has a connection and [`auth_timeout`](crate::SocketOptions::auth_timeout), which bound them.
#[derive(Default)]
pub(crate) struct Admissions(Mutex<HashMap<Uuid, (SessionId, oneshot::Sender<()>)>>);

/// A stream's wait. It is over when this is dropped.
pub(super) struct Admission<'a> {
    all: &'a Admissions,
    stream: Uuid,
    admitted: oneshot::Receiver<()>,
}

impl Admissions {
    pub(super) fn wait(&self, session: SessionId) -> Admission<'_> {
        let (sender, admitted) = oneshot::channel();
        let stream = Uuid::new_v4();
        self.0.lock().insert(stream, (session, sender));
        Admission { all: self, stream, admitted }
    }

    /// Whether a stream of that session and id waited, and begins now.
    pub(super) fn admit(&self, session: &SessionId, stream: Uuid) -> bool {
        let mut all = self.0.lock();
        if all.get(&stream).is_none_or(|(of, _)| of != session) {
            return false;
        }
        all.remove(&stream).is_some_and(|(_, sender)| sender.send(()).is_ok())
    }
}

impl Admission<'_> {
    /// What the stream is called by whoever shows its key.
    pub(super) fn stream(&self) -> Uuid {
        self.stream
    }

    /// Waits for the key.
    pub(super) async fn admitted(&mut self) {
        // The other end goes away only when it is used.
        drop((&mut self.admitted).await);
    }
}

impl Drop for Admission<'_> {
    fn drop(&mut self) {
        self.all.0.lock().remove(&self.stream);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session(id: &str) -> SessionId {
        SessionId::new(id).unwrap()
    }

    #[tokio::test]
    async fn a_stream_begins_once_and_only_by_its_own_name() {
        let admissions = Admissions::default();
        let mut waiting = admissions.wait(session("s"));
        assert!(!admissions.admit(&session("s"), Uuid::new_v4()));
        assert!(!admissions.admit(&session("another"), waiting.stream()));
        assert!(admissions.admit(&session("s"), waiting.stream()));
        waiting.admitted().await;
        assert!(!admissions.admit(&session("s"), waiting.stream()));
    }

    #[test]
    fn whoever_waits_no_more_is_forgotten() {
        let admissions = Admissions::default();
        let waiting = admissions.wait(session("s"));
        let stream = waiting.stream();
        drop(waiting);
        assert!(!admissions.admit(&session("s"), stream));
        assert!(admissions.0.lock().is_empty());
    }
}
