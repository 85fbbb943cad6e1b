//! A native program that asks the same server in the same words as the adapter `http`.

use std::time::{SystemTime, UNIX_EPOCH};

use agent_host_test_programs::HttpStore;
use anyhow::ensure;
use reqwest::{Client, RequestBuilder};

use super::{Native, SESSION};

/// How long a request is worth an answer, in milliseconds.
const PATIENCE: u128 = 7000;

pub(super) struct Program {
    client: Client,
    url: String,
    token: &'static str,
}

impl Program {
    pub(super) fn new(store: &HttpStore) -> anyhow::Result<Self> {
        Ok(Self { client: agent_host_test_programs::http().build()?, url: store.url(), token: store.secret() })
    }

    async fn ask(&self, request: RequestBuilder) -> anyhow::Result<()> {
        let deadline = SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis() + PATIENCE;
        let response = request.bearer_auth(self.token).header("Request-Deadline", deadline.to_string()).send().await?;
        let (status, body) = (response.status(), response.bytes().await?);
        ensure!(status.is_success(), "{status}: {}", String::from_utf8_lossy(&body));
        Ok(())
    }
}

impl Native for Program {
    async fn append(&mut self, stream: &str, offset: u64, data: &[u8]) -> anyhow::Result<()> {
        let url = format!("{}/stream?session={SESSION}&stream=transcript%2Fnative-{stream}&offset={offset}&staged=0", self.url);
        let request = self.client.post(url).header("Session-Epoch", "1").header("Content-Type", "application/octet-stream");
        self.ask(request.header("Idempotency-Key", uuid::Uuid::new_v4().simple().to_string()).body(data.to_vec())).await
    }

    async fn load(&mut self) -> anyhow::Result<()> {
        self.ask(self.client.get(format!("{}/session?session={SESSION}", self.url))).await
    }
}
