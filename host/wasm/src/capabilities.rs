//! What all instances of one component share of what it was granted.

use std::sync::Arc;

use crate::grants::Grants;
use crate::grants::denials::Denials;
use crate::hooks::Caller;
use crate::http::Client;
use crate::limits::{HttpLimits, Limits};
use crate::net::Resolver;
use crate::output::Output;

/// What all instances of one component share of what it was granted.
pub(crate) struct Capabilities {
    component: Arc<str>,
    pub(crate) grants: Grants,
    pub(crate) limits: Limits,
    pub(crate) denials: Arc<Denials>,
    pub(crate) output: Arc<Output>,
    pub(crate) resolver: Arc<dyn Resolver>,
    pub(crate) http: Client,
    /// As whom it speaks to sessions; `None` if it is no hook.
    pub(crate) caller: Option<Caller>,
}

impl Capabilities {
    /// # Errors
    /// If HTTPS is granted, and this machine has no root certificates.
    pub(crate) fn new(
        denials: Denials,
        component: Arc<str>,
        grants: Grants,
        limits: Limits,
        resolver: Arc<dyn Resolver>,
        caller: Option<Caller>,
    ) -> wasmtime::Result<Arc<Self>> {
        let denials = Arc::new(denials);
        let output = Output::new(Arc::clone(&component), limits.log_bytes);
        // So a component is told that a server is slow while its call still has time to do something about it.
        let timeout = limits.http.timeout.min(limits.call_timeout * 4 / 5);
        let http = Client::new(&grants.http, HttpLimits { timeout, ..limits.http }, Arc::clone(&denials), &resolver)?;
        Ok(Arc::new(Self { component, grants, limits, denials, output, resolver, http, caller }))
    }

    /// The component's name.
    pub(crate) fn component(&self) -> &str {
        &self.component
    }
}
