//! The admin calls, with the key that the host keeps in its data directory.

use std::path::Path;

use reqwest::Method;
use serde_json::Value;

use crate::client::{Answer, Client};
use crate::metrics::Metrics;

/// An operator of one host.
#[derive(Clone, Debug)]
pub struct Operator(Client);

impl Operator {
    pub(crate) fn new(base_url: &str, data_directory: &Path) -> Self {
        let key = std::fs::read_to_string(data_directory.join("admin-key")).expect("the host has no admin key");
        Self(Client::new(base_url, Some(&key)))
    }

    /// GET `/admin/components`.
    pub async fn components(&self) -> Value {
        self.0.get("/admin/components").await.expect(200)
    }

    /// The metrics, which an operator may see, too.
    pub async fn metrics(&self) -> Metrics {
        self.0.metrics().await
    }

    /// The persistence adapter that serves: its name and its version.
    pub async fn serving(&self) -> (String, String) {
        let components = self.components().await;
        let text = |field: &str| components["persistence"][field].as_str().expect("the adapter has no name or version").to_owned();
        (text("name"), text("version"))
    }

    /// Sends a component.
    pub async fn swap(&self, component: impl Into<Vec<u8>>, query: &str) -> Answer {
        let request = self.0.request(Method::PUT, &format!("/admin/persistence{query}"));
        self.0.send(request.header("content-type", "application/wasm").body(component.into())).await
    }

    /// Names a component.
    pub async fn swap_named(&self, request: &Value, query: &str) -> Answer {
        self.0.send(self.0.request(Method::PUT, &format!("/admin/persistence{query}")).json(request)).await
    }

    /// POST `/admin/persistence/rollback`.
    pub async fn rollback(&self, query: &str) -> Answer {
        self.0.command(&format!("/admin/persistence/rollback{query}")).await
    }
}
