//! Reading a session from the store: folding its event record.

use std::collections::HashMap;

use crate::event::{Event, RecordLine};
use crate::id::{Epoch, SessionId};
use crate::ports::store::{self, MAX_READ_BYTES, Store};
use crate::record::StreamName;
use crate::state::State;

/// A session as it is stored.
pub(crate) struct Loaded {
    pub(crate) state: State,
    /// The highest epoch that a write carried.
    pub(crate) epoch: Epoch,
    /// Whether that is the epoch of the process that has read it, so that nobody else has written since.
    pub(crate) is_taken: bool,
    /// The epoch of the last run. As far as that is not recorded it is the highest one.
    pub(crate) run_epoch: Epoch,
    pub(crate) lengths: HashMap<StreamName, u64>,
    pub(crate) transcripts: Vec<StreamName>,
    /// Whether the event record ends in the middle of a line, which a store that is not atomic may leave: the next one must begin anew.
    pub(crate) is_torn: bool,
}

/// Reads a session; `None` if there is no such session. Writes nothing.
pub(crate) async fn load(store: &dyn Store, id: &SessionId) -> Result<Option<Loaded>, store::Error> {
    let Some(snapshot) = store.load_session(id).await? else { return Ok(None) };
    let lengths: HashMap<StreamName, u64> = snapshot.streams.into_iter().collect();
    let mut transcripts: Vec<StreamName> =
        lengths.iter().filter(|(stream, length)| stream.is_transcript() && **length > 0).map(|(stream, _)| stream.clone()).collect();
    // They are read in this order, which is to be the same in each run of the same.
    transcripts.sort();
    let mut state = State::new(snapshot.record);
    let end = lengths.get(&StreamName::Events).copied().unwrap_or(0);
    let mut offset = 0;
    let mut run_epoch = None;
    // The part of a line that the last piece ended with.
    let mut rest = Vec::new();
    while offset < end {
        let piece = store.read(id, &StreamName::Events, offset, MAX_READ_BYTES).await?;
        if piece.is_empty() {
            return Err(store::Error::Corrupt(format!("the event record of session {id} ends at byte {offset} of {end}")));
        }
        offset += piece.len() as u64;
        rest.extend_from_slice(&piece);
        let complete = rest.iter().rposition(|byte| *byte == b'\n').map_or(0, |newline| newline + 1);
        for line in rest.drain(..complete).as_slice().split(|byte| *byte == b'\n') {
            run_epoch = fold(&mut state, id, line).or(run_epoch);
        }
    }
    // A line that lacks nothing but its end would be read by the next one that loads the session, which finds the end behind it.
    if serde_json::from_slice::<RecordLine>(&rest).is_ok() {
        run_epoch = fold(&mut state, id, &rest).or(run_epoch);
    }
    state.has_stored(snapshot.files);
    state.runtime.queued_messages = state.queue().len();
    Ok(Some(Loaded {
        state,
        epoch: snapshot.epoch,
        is_taken: false,
        run_epoch: run_epoch.unwrap_or(snapshot.epoch),
        lengths,
        transcripts,
        is_torn: !rest.is_empty(),
    }))
}

/// Applies a line. Gives its epoch if it says that the session got a sandbox.
fn fold(state: &mut State, id: &SessionId, line: &[u8]) -> Option<Epoch> {
    if line.is_empty() {
        return None;
    }
    match serde_json::from_slice::<RecordLine>(line) {
        Ok(line) => {
            state.apply(&line.event);
            matches!(line.event, Event::SandboxTaken).then_some(line.epoch)
        }
        // A line of a later version, or a damaged one: what else the session holds is worth more than a refusal.
        Err(error) => {
            tracing::warn!(session = %id, %error, "skipped a line of the event record that cannot be read");
            None
        }
    }
}
