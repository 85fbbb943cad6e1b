//! How a hook is started.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use agent_host_session::id::ProfileId;

use super::interests::InvalidPattern;
use crate::call;
use crate::component::LoadError;
use crate::grants::Grants;
use crate::limits::Limits;

/// A hook's name in this host, which the operator gives: it is part of the names of its events, of its metadata, and of its place in the events on disk.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(Arc<str>);

/// Why a text cannot be a hook's name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a hook's name is 1 to 128 characters out of `A-Z a-z 0-9 . _ -` and does not begin with a dot; this is none: {0:?}")]
pub struct InvalidName(String);

impl Name {
    /// Checks that `text` is 1 to 128 characters out of `A-Z a-z 0-9 . _ -`, not beginning with a dot.
    ///
    /// # Errors
    /// If it is not.
    pub fn new(text: impl Into<String>) -> Result<Self, InvalidName> {
        let text = text.into();
        // The rule of all ids.
        if ProfileId::new(text.clone()).is_err() {
            return Err(InvalidName(text.chars().take(128).collect()));
        }
        Ok(Self(text.into()))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, formatter)
    }
}

/// How a hook is run.
#[derive(Clone, Debug)]
pub struct HookOptions {
    /// What it is told at `open`.
    pub config: Vec<(String, String)>,
    /// What it may use.
    pub grants: Grants,
    /// How much of it. A delivery of events has [`Limits::call_timeout`].
    pub limits: Limits,
    /// How long a decision may take, with the wait for an instance. Somebody, or the agent, waits for it.
    pub decision_timeout: Duration,
    /// Instances for decisions at most, of a hook that takes any.
    pub decision_instances: u32,
}

impl Default for HookOptions {
    fn default() -> Self {
        Self {
            config: Vec::new(),
            grants: Grants::default(),
            limits: Limits::default(),
            // An honest decision takes milliseconds, one that asks a server of its own some hundred; nobody likes to wait longer before each use of a tool.
            decision_timeout: Duration::from_secs(2),
            // So one that waits for a server does not make all sessions wait, and each costs a few megabytes only when it is needed.
            decision_instances: 8,
        }
    }
}

/// Why a hook could not be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// It is something else.
    #[error(transparent)]
    NotAHook(#[from] LoadError),
    /// It wants something that the host does not give, or its types are not those of the contract.
    #[error("failed to link the component {component}: {reason}")]
    Link {
        /// Which component.
        component: String,
        /// Why.
        reason: String,
    },
    /// The engine has promised its instances to others.
    #[error("there is no room for {wanted} instances of the component {component}; {limit} is the limit for all components together")]
    NoRoom {
        /// Which component.
        component: String,
        /// Instances that were asked for.
        wanted: u32,
        /// The engine's limit.
        limit: u32,
    },
    /// It is allowed more memory than the engine was made for.
    #[error("the component {component} may have {wanted} bytes of memory, but the engine was made for {limit} at most")]
    TooMuchMemory {
        /// Which component.
        component: String,
        /// What its limits say.
        wanted: usize,
        /// What the engine's options say.
        limit: usize,
    },
    /// An instance could not be opened.
    #[error(transparent)]
    Open(call::Error),
    /// What it calls itself is no name.
    #[error("the component {component} says of itself what cannot be: {reason}")]
    Name {
        /// Which component.
        component: String,
        /// Why.
        reason: InvalidName,
    },
    /// It wants events that cannot be.
    #[error("the component {component} wants events that cannot be: {reason}")]
    Events {
        /// Which component.
        component: String,
        /// Why.
        reason: InvalidPattern,
    },
}
