//! The commands for operators: admin calls to a running host.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, bail};
use reqwest::{Client, Method, RequestBuilder};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Value, json};

/// A swap may copy a whole store: nobody but the operator knows how long that may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// A running host, and the key for its admin calls.
pub struct Host {
    /// Such as `http://127.0.0.1:7878`.
    url: String,
    key: SecretString,
    client: Client,
}

/// What is to take over.
pub struct Swap<'a> {
    /// A file, or the name of a component that ships with the host; the configured component if `None`.
    pub component: Option<&'a str>,
    /// What the component is told when it is opened.
    pub config: &'a [(String, String)],
    /// What it may use, as JSON.
    pub grants: Option<&'a str>,
    /// Whether everything is to be copied to its store.
    pub migrate: bool,
}

impl Host {
    /// A host that can be reached at `url`.
    pub fn new(url: &str, key: SecretString) -> anyhow::Result<Self> {
        if !url.starts_with("http://") {
            bail!("invalid URL {url:?}: it must begin with http://");
        }
        let client = Client::builder().connect_timeout(CONNECT_TIMEOUT).no_proxy().build().context("failed to make an HTTP client")?;
        Ok(Self { url: url.trim_end_matches('/').to_owned(), key, client })
    }

    /// What serves, what is being prepared and what happened.
    pub async fn components(&self) -> anyhow::Result<Value> {
        self.send(self.request(Method::GET, "/admin/components")).await
    }

    /// Lets another persistence adapter take over.
    pub async fn swap_persistence(&self, swap: &Swap<'_>) -> anyhow::Result<Value> {
        let mut query = vec![("migrate", swap.migrate.to_string())];
        if !swap.config.is_empty() {
            let config: BTreeMap<&str, &str> = swap.config.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
            query.push(("config", serde_json::to_string(&config)?));
        }
        if let Some(grants) = swap.grants {
            let grants: Value = serde_json::from_str(grants).context("--grants is not JSON")?;
            query.push(("grants", grants.to_string()));
        }
        let request = self.request(Method::PUT, "/admin/persistence").query(&query);
        let request = match swap.component {
            None => request.json(&json!({"configured": true})),
            Some(name) if crate::components::builtin(name).is_some() => request.json(&json!({"builtin": name})),
            Some(file) => {
                let bytes = std::fs::read(file).with_context(|| {
                    format!(
                        "failed to read the component {file} (components that ship with the host: {})",
                        crate::components::builtin_names()
                    )
                })?;
                request.header("content-type", "application/wasm").body(bytes)
            }
        };
        self.send(request).await
    }

    /// Lets the adapter before the present one serve again.
    pub async fn roll_back_persistence(&self, migrate: bool) -> anyhow::Result<Value> {
        self.send(self.request(Method::POST, "/admin/persistence/rollback").query(&[("migrate", migrate)])).await
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, format!("{}{path}", self.url)).bearer_auth(self.key.expose_secret())
    }

    async fn send(&self, request: RequestBuilder) -> anyhow::Result<Value> {
        let response = request.send().await.with_context(|| format!("failed to reach a host at {}: does it run?", self.url))?;
        let status = response.status();
        let answer: Value = response.json().await.with_context(|| format!("the answer of {} ({status}) is no JSON", self.url))?;
        if status.is_success() {
            return Ok(answer);
        }
        let text = |field: &str| answer.get(field).and_then(Value::as_str);
        let detail = text("detail").unwrap_or("it does not say why");
        match text("phase") {
            Some(phase) => bail!("the component was refused in the phase {phase}: {detail}"),
            None => bail!("the host refused ({status}): {detail}"),
        }
    }
}

/// The key in a file of the data directory of a host on this machine.
pub fn key_in(data_dir: &Path) -> anyhow::Result<SecretString> {
    let path = crate::data_dir::admin_key_path(data_dir);
    let key = std::fs::read_to_string(&path).with_context(|| {
        format!("failed to read the admin key {}; --key-variable names an environment variable with one", path.display())
    })?;
    Ok(key.trim().to_owned().into())
}

/// What serves, for people.
pub fn describe(components: &Value) -> String {
    let text = |value: &Value, name: &str| match value.get(name) {
        Some(Value::String(text)) => text.clone(),
        Some(value) if !value.is_null() => value.to_string(),
        _ => "-".to_owned(),
    };
    let none = Value::Null;
    let persistence = components.get("persistence").unwrap_or(&none);
    let mut lines = vec![["", "GENERATION", "NAME", "VERSION", "STATE", "CALLS", "DIGEST", "SINCE"].map(str::to_owned)];
    let row = |kind: &str, value: &Value, state: &str| {
        let digest: String = text(value, "digest").chars().take(12).collect();
        [
            kind.to_owned(),
            text(value, "generation"),
            text(value, "name"),
            text(value, "version"),
            state.to_owned(),
            text(value, "calls"),
            digest,
            since(value),
        ]
    };
    lines.push(row("persistence", persistence, "serving"));
    for earlier in persistence.get("earlier").and_then(Value::as_array).into_iter().flatten().rev() {
        lines.push(row("", earlier, "earlier"));
    }
    let mut table = table(&lines);
    if let Some(candidate) = persistence.get("candidate").filter(|candidate| !candidate.is_null()) {
        table.push_str(&format!("being prepared: {}\n", text(candidate, "phase")));
    }
    table
}

fn since(value: &Value) -> String {
    let millis = value.get("since").and_then(Value::as_i64);
    millis.and_then(|millis| jiff::Timestamp::from_millisecond(millis).ok()).map_or_else(|| "-".to_owned(), |time| format!("{time:.0}"))
}

fn table<const N: usize>(rows: &[[String; N]]) -> String {
    let widths: [usize; N] =
        std::array::from_fn(|column| rows.iter().filter_map(|row| row.get(column)).map(String::len).max().unwrap_or(0));
    let mut text = String::new();
    for row in rows {
        let cells: Vec<String> = row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        text.push_str(cells.join("  ").trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_serves_is_a_table() {
        let generation =
            |number: u64| json!({"generation": number, "name": "sql", "version": "1", "digest": "ab".repeat(32), "since": 0, "calls": 7});
        let mut persistence = generation(3);
        persistence["earlier"] = json!([generation(1), generation(2)]);
        persistence["candidate"] = json!({"phase": "compile"});
        let expected = "             GENERATION  NAME  VERSION  STATE    CALLS  DIGEST        SINCE\n\
                        persistence  3           sql   1        serving  7      abababababab  1970-01-01T00:00:00Z\n             \
                                     2           sql   1        earlier  7      abababababab  1970-01-01T00:00:00Z\n             \
                                     1           sql   1        earlier  7      abababababab  1970-01-01T00:00:00Z\n\
                        being prepared: compile\n";
        assert_eq!(describe(&json!({"persistence": persistence})), expected);
    }
}
