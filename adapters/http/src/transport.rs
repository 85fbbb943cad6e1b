//! What the client needs of the world: requests, time, and chance.

use std::time::{Duration, Instant};

use agent_host_adapter::http::{self, Request, Response};
use agent_host_adapter::{Error, Result as AdapterResult};

/// Requests, time and chance. Tests have others than the host's.
pub(crate) trait Transport {
    fn fetch(&self, request: Request<'_>) -> Result<Response, http::Error>;

    /// Since some moment that stays the same.
    fn now(&self) -> Duration;

    fn sleep(&self, pause: Duration);

    /// Bytes that nobody can guess, and that never come again.
    fn random(&self) -> AdapterResult<[u8; 16]>;
}

/// Those of the host.
pub(crate) struct Host {
    start: Instant,
}

impl Default for Host {
    fn default() -> Self {
        Self { start: Instant::now() }
    }
}

impl Transport for Host {
    fn fetch(&self, request: Request<'_>) -> Result<Response, http::Error> {
        http::fetch(request)
    }

    fn now(&self) -> Duration {
        self.start.elapsed()
    }

    fn sleep(&self, pause: Duration) {
        std::thread::sleep(pause);
    }

    fn random(&self) -> AdapterResult<[u8; 16]> {
        let mut bytes = [0; 16];
        getrandom::fill(&mut bytes).map_err(|error| Error::other(format!("the host gave no random numbers: {error}")))?;
        Ok(bytes)
    }
}

#[cfg(test)]
pub(crate) mod fake;
