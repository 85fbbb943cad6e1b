//! What the courier needs of the world: requests, and time.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use agent_host_hook::http::{self, Header, Request, Response};

/// Requests and time. Tests have another one than the host.
pub(crate) trait Transport {
    fn post(&mut self, url: &str, headers: &[Header<'_>], body: &[u8], timeout: Duration) -> Result<Response, http::Error>;

    /// Since some moment that stays the same.
    fn now(&self) -> Duration;

    /// Unix seconds.
    fn unix_time(&self) -> u64;

    fn sleep(&mut self, pause: Duration);
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
    fn post(&mut self, url: &str, headers: &[Header<'_>], body: &[u8], timeout: Duration) -> Result<Response, http::Error> {
        let timeout_ms = u32::try_from(timeout.as_millis()).ok();
        http::fetch(Request { headers, timeout_ms, ..Request::post(url, body) })
    }

    fn now(&self) -> Duration {
        self.start.elapsed()
    }

    fn unix_time(&self) -> u64 {
        // Before 1970 is a clock that was never set; a receiver that looks at the time refuses it.
        SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs())
    }

    fn sleep(&mut self, pause: Duration) {
        std::thread::sleep(pause);
    }
}
