//! A request of the protocol, before it is signed and sent.

use agent_host_adapter::{Epoch, Error, Result};
use serde::Serialize;

use crate::target::Target;

/// Names a write, for all tries of it and for no other: the server does it once, and answers a repetition as it answered the first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct WriteKey(pub(crate) String);

/// What is sent along.
#[derive(Debug)]
pub(crate) enum Body<'a> {
    None,
    Json(Vec<u8>),
    /// Of a stream or file. It stays where it is.
    Piece(&'a [u8]),
}

impl Body<'_> {
    pub(crate) fn bytes(&self) -> Option<&[u8]> {
        match self {
            Self::None => None,
            Self::Json(bytes) => Some(bytes),
            Self::Piece(bytes) => Some(bytes),
        }
    }

    pub(crate) fn content_type(&self) -> Option<&'static [u8]> {
        match self {
            Self::None => None,
            Self::Json(_) => Some(b"application/json"),
            Self::Piece(_) => Some(b"application/octet-stream"),
        }
    }
}

/// A request, tried as often as need be.
#[derive(Debug)]
pub(crate) struct Request<'a> {
    pub(crate) method: &'static str,
    pub(crate) target: Target,
    pub(crate) epoch: Option<Epoch>,
    pub(crate) key: Option<WriteKey>,
    pub(crate) body: Body<'a>,
}

impl<'a> Request<'a> {
    pub(crate) fn get(target: Target) -> Self {
        Self { method: "GET", target, epoch: None, key: None, body: Body::None }
    }

    pub(crate) fn write(method: &'static str, target: Target, key: &WriteKey) -> Self {
        Self { method, target, epoch: None, key: Some(key.clone()), body: Body::None }
    }

    pub(crate) fn epoch(self, epoch: Epoch) -> Self {
        Self { epoch: Some(epoch), ..self }
    }

    pub(crate) fn piece(self, data: &'a [u8]) -> Self {
        Self { body: Body::Piece(data), ..self }
    }

    /// # Errors
    /// [`Error::Invalid`] if it is more than the server takes: a record cannot be sent in pieces.
    pub(crate) fn json(self, value: &impl Serialize, most: usize) -> Result<Self> {
        let json = serde_json::to_vec(value).map_err(|error| Error::other(format!("failed to write JSON: {error}")))?;
        if json.len() > most {
            return Err(Error::invalid(format!("it has {} bytes as JSON, and the server takes {most}", json.len())));
        }
        Ok(Self { body: Body::Json(json), ..self })
    }
}
