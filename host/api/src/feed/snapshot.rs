//! Whole sessions as frames. However many clients join at once, and however slowly they read: what is on its way to them stays within one bound of memory.

use std::sync::Arc;

use agent_host_session::id::{Sequence, SessionId};
use agent_host_session::manager;
use agent_host_session::state::View;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::session::SessionWriter;

/// Frames that are made at once. Making one is work for a processor; more at once only need more memory.
const MAKERS: usize = 4;

/// What memory is counted in, in bytes.
const UNIT: usize = 1024;

/// The event's name.
pub(crate) const SNAPSHOT: &str = "session:snapshot";

/// The bound.
pub(crate) struct Snapshots {
    makers: Semaphore,
    memory: Arc<Semaphore>,
    units: u32,
}

/// A frame that counts until it is dropped.
pub(crate) struct Frame {
    /// The number of the last event that is in it.
    pub(crate) sequence: Sequence,
    pub(crate) text: String,
    pub(crate) memory: Option<OwnedSemaphorePermit>,
}

impl Snapshots {
    pub(crate) fn new(bytes: usize) -> Self {
        let units = u32::try_from(bytes / UNIT).unwrap_or(u32::MAX).clamp(1, u32::try_from(Semaphore::MAX_PERMITS).unwrap_or(u32::MAX));
        Self { makers: Semaphore::new(MAKERS), memory: Arc::new(Semaphore::new(units as usize)), units }
    }

    /// Makes the frame of a session, and waits until there is room for it.
    ///
    /// # Errors
    /// None that are known of: only contents of files can fail to be read, and these are not in it.
    pub(crate) async fn frame(&self, session: &SessionId, view: View, resync: bool) -> Result<Frame, manager::Error> {
        let maker = self.makers.acquire().await.ok();
        let sequence = view.sequence;
        let mut text = format!("{{\"event\":\"{SNAPSHOT}\",\"data\":{{\"sessionId\":\"{session}\",\"resync\":{resync},\"session\":");
        let mut writer = SessionWriter::new(view);
        while let Some(piece) = writer.piece().await? {
            text.push_str(&piece);
            // Others of this thread's tasks have their turn between two pieces.
            tokio::task::yield_now().await;
        }
        text.push_str(&format!("}},\"seq\":{sequence}}}"));
        let units = u32::try_from(text.len() / UNIT).unwrap_or(u32::MAX).clamp(1, self.units);
        let memory = Arc::clone(&self.memory).acquire_many_owned(units).await.ok();
        drop(maker);
        Ok(Frame { sequence, text, memory })
    }
}
