//! What is posted.

use std::fmt::Write as _;

use agent_host_hook::{Error, Event, Result};
use serde::Serialize;
use serde_json::value::RawValue;
use sha2::{Digest as _, Sha256};

/// The body of a request, and what it is called.
pub(crate) struct Body {
    /// `msg_` and the SHA-256 of the JSON: the same for the same events, and for no others.
    pub(crate) id: String,
    pub(crate) json: Vec<u8>,
}

/// Whether events come with their data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    Whole,
    WithoutData,
}

/// In the form that the convention recommends. It has no time in it: that of the try is in a header, so that a repeat is the same.
#[derive(Serialize)]
struct Payload<'a> {
    r#type: &'static str,
    data: Data<'a>,
}

#[derive(Serialize)]
struct Data<'a> {
    events: Vec<Told<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Told<'a> {
    session: &'a str,
    epoch: u64,
    seq: u64,
    name: &'a str,
    data: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    omitted_bytes: Option<usize>,
}

impl Body {
    pub(crate) fn new(events: &[Event], form: Form) -> Result<Self> {
        let events = events.iter().map(|event| told(event, form)).collect::<Result<_>>()?;
        let payload = Payload { r#type: "agent-host.events", data: Data { events } };
        let json = serde_json::to_vec(&payload).map_err(|error| Error::other(format!("failed to write events as JSON: {error}")))?;
        let mut id = String::from("msg_");
        for byte in Sha256::digest(&json) {
            // Writing into a text does not fail.
            let _ = write!(id, "{byte:02x}");
        }
        Ok(Self { id, json })
    }
}

fn told(event: &Event, form: Form) -> Result<Told<'_>> {
    let Event { session, epoch, seq, name, data } = event;
    let (data, omitted_bytes) = match form {
        Form::Whole => {
            let raw = serde_json::from_str(data);
            let raw =
                raw.map_err(|error| Error::invalid(format!("the data of event {epoch}/{seq} of session {session:?} is not JSON: {error}")));
            (Some(raw?), None)
        }
        Form::WithoutData => (None, Some(data.len())),
    };
    Ok(Told { session, epoch: *epoch, seq: *seq, name, data, omitted_bytes })
}
