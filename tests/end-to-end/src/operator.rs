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

    /// Sends the component of a hook.
    pub async fn put_hook(&self, name: &str, component: impl Into<Vec<u8>>, query: &str) -> Answer {
        let request = self.0.request(Method::PUT, &format!("/admin/hooks/{name}{query}"));
        self.0.send(request.header("content-type", "application/wasm").body(component.into())).await
    }

    /// Names the component of a hook.
    pub async fn put_hook_named(&self, name: &str, request: &Value) -> Answer {
        self.0.send(self.0.request(Method::PUT, &format!("/admin/hooks/{name}")).json(request)).await
    }

    /// DELETE `/admin/hooks/:name`.
    pub async fn remove_hook(&self, name: &str) -> Answer {
        self.0.send(self.0.request(Method::DELETE, &format!("/admin/hooks/{name}"))).await
    }

    /// PUT `/admin/hooks/:name/enabled`.
    pub async fn enable_hook(&self, name: &str, enabled: bool) -> Answer {
        let request = self.0.request(Method::PUT, &format!("/admin/hooks/{name}/enabled"));
        self.0.send(request.json(&serde_json::json!({"enabled": enabled}))).await
    }

    /// A hook as `/admin/components` shows it; `null` if there is none of this name.
    pub async fn hook(&self, name: &str) -> Value {
        let components = self.components().await;
        let hooks = components["hooks"].as_array().expect("the host shows no hooks");
        hooks.iter().find(|hook| hook["name"] == name).cloned().unwrap_or_default()
    }

    /// Waits until a hook has been told of everything that happened so far.
    pub async fn told(&self, hook: &str) {
        crate::eventually("the hook has been told of everything", async || self.hook(hook).await["backlog"]["events"] == 0).await;
    }

    /// POST `/admin/persistence/rollback`.
    pub async fn rollback(&self, query: &str) -> Answer {
        self.0.command(&format!("/admin/persistence/rollback{query}")).await
    }
}
