//! The REST API as a real client uses it: a host that is gone is waited for, and what may have been done is asked for again under the same id.

use std::time::Duration;

use reqwest::Method;
use serde_json::Value;
use tokio::sync::watch;

/// As long as a person waits: shorter than the longest time for which a host is stopped.
const PATIENCE: Duration = Duration::from_secs(12);

/// Between two tries.
const PAUSE: Duration = Duration::from_millis(30);

/// Where the host is, as long as there is one.
pub type Address = watch::Receiver<Option<String>>;

/// A client of whichever host serves.
#[derive(Clone, Debug)]
pub struct Api {
    http: reqwest::Client,
    address: Address,
}

/// What came of a request.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// The host's answer.
    Came {
        /// The HTTP status.
        status: u16,
        /// The body; `null` if it is no JSON.
        body: Value,
    },
    /// There was none: nobody knows what was done.
    Lost,
}

impl Answer {
    /// Whether the host says that it did it.
    pub fn is_success(&self) -> bool {
        matches!(self, Self::Came { status: 200..=299, .. })
    }

    /// Whether trying again is what the host asks for, or all that can be done.
    pub fn asks_to_try_again(&self) -> bool {
        match self {
            Self::Lost | Self::Came { status: 429 | 503, .. } => true,
            // Until the lease of the host that is gone has ended.
            Self::Came { status: 409, body } => body["code"] == "SESSION_OWNED",
            Self::Came { .. } => false,
        }
    }
}

/// Waits until there is a host, and says where; `None` if there will be none any more.
pub async fn base_url(address: &mut Address) -> Option<String> {
    address.wait_for(Option::is_some).await.ok().and_then(|address| address.clone())
}

impl Api {
    /// A client of the host that is there.
    pub fn new(address: Address) -> Self {
        // Without a limit for all that a client can do there would be one that nobody chose.
        let http = agent_host_tests::http().timeout(PATIENCE).build().unwrap_or_default();
        Self { http, address }
    }

    /// Asks once.
    pub async fn once(&self, method: Method, path: &str, body: Option<&Value>) -> Answer {
        let Some(base) = base_url(&mut self.address.clone()).await else { return Answer::Lost };
        let mut request = self.http.request(method, format!("{base}{path}"));
        if let Some(body) = body {
            request = request.json(body);
        }
        let Ok(response) = request.send().await else { return Answer::Lost };
        let status = response.status().as_u16();
        match response.bytes().await {
            Ok(bytes) => Answer::Came { status, body: serde_json::from_slice(&bytes).unwrap_or_default() },
            Err(_) => Answer::Lost,
        }
    }

    /// Asks until there is an answer that counts.
    pub async fn insist(&self, method: Method, path: &str, body: Option<&Value>) -> Answer {
        loop {
            let answer = self.once(method.clone(), path, body).await;
            if !answer.asks_to_try_again() || self.address.has_changed().is_err() {
                return answer;
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// A session; `None` if it could not be had.
    pub async fn session(&self, session: &str) -> Option<Value> {
        match self.once(Method::GET, &format!("/sessions/{session}"), None).await {
            Answer::Came { status: 200, body } => Some(body),
            _ => None,
        }
    }
}
