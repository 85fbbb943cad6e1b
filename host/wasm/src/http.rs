//! `agent-host:http` as a component sees it: requests to the URLs that it was granted.
//!
//! Each URL is checked against the rules, that of every redirect too. What its host's name resolves to is checked where the connection is made, which goes
//! to just the addresses that were checked: a name that means something else a moment later changes nothing.

mod client;
mod connections;
mod redirect;
mod resolve;

use wasmtime::Result;

pub(crate) use client::Client;

use crate::bindings::agent_host::http::http as wit;
use crate::state::State;

impl wit::Host for State {
    async fn fetch(&mut self, request: wit::Request) -> Result<Result<wit::Response, wit::Error>> {
        Ok(self.capabilities().http.fetch(request).await)
    }
}
