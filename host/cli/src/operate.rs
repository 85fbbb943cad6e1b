//! The commands for operators: admin calls to a running host.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use agent_host_registry::Reference;
use anyhow::{Context as _, bail};
use reqwest::{Client, Method, RequestBuilder, StatusCode, Url};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Value, json};

use crate::args::Begin;
use crate::output;

/// A swap may copy a whole store: nobody but the operator knows how long that may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// A running host, and the key for its admin calls.
pub struct Host {
    /// Such as `http://127.0.0.1:7878`.
    url: String,
    key: SecretString,
    client: Client,
}

/// What is said of a component beside itself.
pub struct Given<'a> {
    /// What the component is told when it is opened.
    pub config: &'a [(String, String)],
    /// What it may use, as JSON.
    pub grants: Option<&'a str>,
}

impl Given<'_> {
    fn query(&self) -> anyhow::Result<Vec<(&'static str, String)>> {
        let mut query = Vec::new();
        if !self.config.is_empty() {
            let config: BTreeMap<&str, &str> = self.config.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
            query.push(("config", serde_json::to_string(&config)?));
        }
        if let Some(grants) = self.grants {
            let mut grants: Value = serde_json::from_str(grants).context("--grants is not JSON")?;
            from_here(&mut grants, &std::env::current_dir().context("failed to find the working directory")?);
            query.push(("grants", grants.to_string()));
        }
        Ok(query)
    }
}

/// Makes relative paths in grants those of whoever asks: the host has another working directory.
fn from_here(grants: &mut Value, working_dir: &Path) {
    let absolute = |path: &str| working_dir.join(path).to_string_lossy().into_owned();
    let databases = grants.get_mut("databases").and_then(Value::as_object_mut);
    for database in databases.into_iter().flat_map(|databases| databases.values_mut()) {
        if let Some(path) = database.as_str().and_then(|text| text.strip_prefix("sqlite:")) {
            *database = format!("sqlite:{}", absolute(path)).into();
        }
    }
    for directory in grants.get_mut("dirs").and_then(Value::as_array_mut).into_iter().flatten() {
        if let Some(host) = directory.get_mut("host")
            && let Some(path) = host.as_str()
        {
            *host = absolute(path).into();
        }
    }
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
        self.send(self.request(Method::GET, &["components"])?).await
    }

    /// Lets another persistence adapter take over: a file, one in a registry, or one that ships with the host by its name; the configured one if `None`.
    pub async fn swap_persistence(&self, component: Option<&str>, given: &Given<'_>, migrate: bool) -> anyhow::Result<Value> {
        let request = self.request(Method::PUT, &["persistence"])?.query(&given.query()?).query(&[("migrate", migrate)]);
        let request = match component {
            Some(name) if crate::components::builtin(name).is_some() => request.json(&json!({"builtin": name})),
            Some(reference) if Reference::is_meant_by(reference) => request.json(&json!({"reference": reference})),
            Some(file) if !Path::new(file).exists() => bail!(crate::components::no_component(file)),
            Some(file) => send_file(request, Path::new(file))?,
            None => request.json(&json!({"configured": true})),
        };
        self.send(request).await
    }

    /// Adds a hook from a file or a registry, or replaces it; by the configured component if `None`.
    pub async fn add_hook(&self, name: &str, file: Option<&Path>, given: &Given<'_>, from: Option<Begin>) -> anyhow::Result<Value> {
        let request = self.request(Method::PUT, &["hooks", name])?.query(&given.query()?);
        let request = match from {
            Some(Begin::Start) => request.query(&[("from", "start")]),
            Some(Begin::End) => request.query(&[("from", "end")]),
            None => request,
        };
        let request = match file {
            Some(reference) if reference.to_str().is_some_and(Reference::is_meant_by) => request.json(&json!({"reference": reference})),
            Some(file) => send_file(request, file)?,
            None => request.json(&json!({"configured": true})),
        };
        self.send(request).await
    }

    /// Removes a hook.
    pub async fn remove_hook(&self, name: &str) -> anyhow::Result<()> {
        self.send(self.request(Method::DELETE, &["hooks", name])?).await.map(drop)
    }

    /// Enables or disables a hook.
    pub async fn enable_hook(&self, name: &str, enabled: bool) -> anyhow::Result<()> {
        let request = self.request(Method::PUT, &["hooks", name, "enabled"])?;
        self.send(request.json(&json!({"enabled": enabled}))).await.map(drop)
    }

    /// Lets the adapter before the present one serve again.
    pub async fn roll_back_persistence(&self, migrate: bool) -> anyhow::Result<Value> {
        self.send(self.request(Method::POST, &["persistence", "rollback"])?.query(&[("migrate", migrate)])).await
    }

    /// An admin call. A name in its path is taken as it is, whatever is in it.
    fn request(&self, method: Method, path: &[&str]) -> anyhow::Result<RequestBuilder> {
        let mut url = Url::parse(&self.url).with_context(|| format!("invalid URL {:?}", self.url))?;
        let Ok(mut segments) = url.path_segments_mut() else { bail!("invalid URL {:?}: it has no path", self.url) };
        segments.pop_if_empty().push("admin").extend(path);
        drop(segments);
        Ok(self.client.request(method, url).bearer_auth(self.key.expose_secret()))
    }

    async fn send(&self, request: RequestBuilder) -> anyhow::Result<Value> {
        let response = request.send().await.with_context(|| format!("failed to reach a host at {}: does it run?", self.url))?;
        let status = response.status();
        if status == StatusCode::NO_CONTENT {
            return Ok(Value::Null);
        }
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

fn send_file(request: RequestBuilder, file: &Path) -> anyhow::Result<RequestBuilder> {
    let bytes = std::fs::read(file).with_context(|| format!("failed to read the component {}", file.display()))?;
    Ok(request.header("content-type", "application/wasm").body(bytes))
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
    let mut lines = vec![["", "GENERATION", "NAME", "VERSION", "STATE", "CALLS", "FAILURES", "DIGEST", "SINCE"].map(str::to_owned)];
    let row = |kind: &str, value: &Value, state: &str| {
        let digest: String = text(value, "digest").chars().take(12).collect();
        [
            kind.to_owned(),
            text(value, "generation"),
            text(value, "name"),
            text(value, "version"),
            state.to_owned(),
            text(value, "calls"),
            failures(value),
            digest,
            since(value),
        ]
    };
    lines.push(row("persistence", persistence, "serving"));
    for earlier in persistence.get("earlier").and_then(Value::as_array).into_iter().flatten().rev() {
        lines.push(row("", earlier, "earlier"));
    }
    for hook in components.get("hooks").and_then(Value::as_array).into_iter().flatten() {
        let mut row = row(&format!("hook {}", text(hook, "name")), hook, &text(hook, "state"));
        row[2] = text(hook, "called");
        lines.push(row);
    }
    let mut table = output::table(&lines);
    for hook in components.get("hooks").and_then(Value::as_array).into_iter().flatten() {
        for (events, what) in [("events", "wait for"), ("skipped", "were too many for")] {
            let events = hook.get("backlog").and_then(|backlog| backlog.get(events)).and_then(Value::as_u64).unwrap_or(0);
            if events > 0 {
                table.push_str(&format!("events that {what} the hook {}: {events}\n", text(hook, "name")));
            }
        }
    }
    for candidate in [persistence.get("candidate"), components.get("hookCandidate")].into_iter().flatten().filter(|value| !value.is_null())
    {
        table.push_str(&format!("being prepared: {}\n", text(candidate, "phase")));
    }
    table
}

fn failures(value: &Value) -> String {
    let kinds = value.get("failures").and_then(Value::as_object);
    kinds.map_or_else(|| "-".to_owned(), |kinds| kinds.values().filter_map(Value::as_u64).sum::<u64>().to_string())
}

fn since(value: &Value) -> String {
    let millis = value.get("since").and_then(Value::as_i64);
    millis.and_then(|millis| jiff::Timestamp::from_millisecond(millis).ok()).map_or_else(|| "-".to_owned(), |time| format!("{time:.0}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_serves_is_a_table() {
        let generation =
            |number: u64| json!({"generation": number, "name": "sql", "version": "1", "digest": "ab".repeat(32), "since": 0, "calls": 7});
        let mut persistence = generation(3);
        persistence["failures"] = json!({"trap": 2, "timeout": 1});
        persistence["earlier"] = json!([generation(1), generation(2)]);
        persistence["candidate"] = json!({"phase": "compile"});
        let mut hook = generation(4);
        hook["called"] = json!("audit");
        hook["name"] = json!("log");
        hook["state"] = json!("serving");
        hook["backlog"] = json!({"events": 5, "skipped": 6});
        let expected = "             GENERATION  NAME   VERSION  STATE    CALLS  FAILURES  DIGEST        SINCE\n\
                        persistence  3           sql    1        serving  7      3         abababababab  1970-01-01T00:00:00Z\n             \
                                     2           sql    1        earlier  7      -         abababababab  1970-01-01T00:00:00Z\n             \
                                     1           sql    1        earlier  7      -         abababababab  1970-01-01T00:00:00Z\n\
                        hook log     4           audit  1        serving  7      -         abababababab  1970-01-01T00:00:00Z\n\
                        events that wait for the hook log: 5\n\
                        events that were too many for the hook log: 6\n\
                        being prepared: compile\n";
        assert_eq!(describe(&json!({"persistence": persistence, "hooks": [hook]})), expected);
    }

    #[test]
    fn relative_paths_in_grants_are_those_of_whoever_asks() {
        let mut grants = json!({
            "databases": {"a": "sqlite:a.db", "b": "sqlite:/b.db", "c": "postgres://d@e/f", "g": {"url": "postgres://d@e/f"}},
            "dirs": [{"host": "in/here", "guest": "/x"}, {"host": "/there", "guest": "/y"}],
        });
        from_here(&mut grants, Path::new("/work"));
        let wanted = json!({
            "databases": {"a": "sqlite:/work/a.db", "b": "sqlite:/b.db", "c": "postgres://d@e/f", "g": {"url": "postgres://d@e/f"}},
            "dirs": [{"host": "/work/in/here", "guest": "/x"}, {"host": "/there", "guest": "/y"}],
        });
        assert_eq!(grants, wanted);
        for nothing in [json!({}), json!({"databases": []}), json!([]), json!({"dirs": {"host": "a"}})] {
            let mut grants = nothing.clone();
            from_here(&mut grants, Path::new("/work"));
            assert_eq!(grants, nothing);
        }
    }
}
