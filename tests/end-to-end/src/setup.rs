//! What a host is to be like: its configuration, key by key.

use std::path::{Path, PathBuf};

use fake_modal::FakeModal;
use fake_model_api::ModelApi;
use toml::{Table, Value};

use crate::host::Host;

/// The configuration of a host that is yet to be started.
#[derive(Clone, Debug, Default)]
pub struct Setup {
    pub(crate) config: Table,
    pub(crate) key: Option<String>,
    pub(crate) environment: Vec<(String, String)>,
    pub(crate) is_at_modal: bool,
    /// Bytes of the disk that its data directory has to itself.
    pub(crate) disk: Option<u64>,
}

impl Setup {
    /// The defaults: on a free port, with the local sandbox, isolated if that can be had.
    pub fn new() -> Self {
        let is_at_modal = std::env::var_os("AGENT_HOST_TEST_PROVIDER").is_some_and(|provider| provider == "modal");
        Self { is_at_modal, ..Self::default() }.set("listen", "127.0.0.1:0").set("sandbox.local.isolation", "auto")
    }

    /// Gives the data directory a disk of its own, of so many bytes, which ends with the process.
    pub fn on_a_disk_of(mut self, bytes: u64) -> Self {
        self.disk = Some(bytes);
        self
    }

    /// Gives the data directory the disk on which everything is.
    pub fn on_the_common_disk(mut self) -> Self {
        self.disk = None;
        self
    }

    /// Has sandboxes made at a fake Modal of its own, which all are where the variable `AGENT_HOST_TEST_PROVIDER` is `modal`.
    pub fn at_modal(mut self) -> Self {
        self.is_at_modal = true;
        self
    }

    /// Sets a key, such as `session.idle_timeout`. A dot always parts two keys.
    pub fn set(mut self, key: &str, value: impl Into<Value>) -> Self {
        let mut table = &mut self.config;
        let mut parts = key.split('.').peekable();
        while let Some(part) = parts.next() {
            if parts.peek().is_none() {
                table.insert(part.to_owned(), value.into());
                break;
            }
            let next = table.entry(part).or_insert_with(|| Value::Table(Table::new()));
            table = next.as_table_mut().expect("a key of the configuration is a value and a table at once");
        }
        self
    }

    /// Gives the host an API key, which its clients show.
    pub fn with_key(mut self, key: &str) -> Self {
        self.key = Some(key.to_owned());
        self.with_variable("HOST_KEY", key).set("auth.api_keys", vec!["env:HOST_KEY"])
    }

    /// Sets an environment variable of the host.
    pub fn with_variable(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Makes `claude-agent-sdk` run this program against that API.
    pub fn with_claude(self, program: &Path, api: &ModelApi) -> Self {
        self.with_agent(program)
            .set("agents.claude-agent-sdk.env", variables(&[("ANTHROPIC_API_KEY", "fake-key"), ("ANTHROPIC_BASE_URL", &api.base_url())]))
    }

    /// Makes `claude-agent-sdk` run this program.
    pub fn with_agent(self, program: &Path) -> Self {
        self.set("agents.claude-agent-sdk.command", program.to_string_lossy().into_owned())
    }

    /// Has sandboxes made at that Modal.
    pub(crate) fn with_modal(self, modal: &FakeModal) -> Self {
        self.with_variable("MODAL_SERVER_URL", modal.url())
            .with_variable("MODAL_TOKEN_ID", "ak-fake")
            .with_variable("MODAL_TOKEN_SECRET", "as-fake")
            .set("sandbox.provider", "modal")
    }

    /// The directory of the agent program, if it is named by its path.
    pub(crate) fn agent_directory(&self) -> Option<PathBuf> {
        let program = self.config.get("agents")?.get("claude-agent-sdk")?.get("command")?.as_str()?;
        Path::new(program).parent().filter(|directory| directory.is_absolute()).map(Path::to_owned)
    }

    /// The adapter's database, if it is not the default.
    pub(crate) fn database(&self) -> Option<PathBuf> {
        let grants = self.config.get("persistence")?.get("grants")?;
        grants.get("databases")?.get("main")?.as_str()?.strip_prefix("sqlite:").map(PathBuf::from)
    }

    /// Starts the host.
    pub async fn start(self) -> Host {
        Host::start(self).await
    }
}

fn variables(pairs: &[(&str, &str)]) -> Table {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), Value::from(*value))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dotted_keys_become_tables() {
        let setup = Setup::new().set("session.idle_timeout", "1s").set("session.sync_interval", "2s").set("limits.depth", 3);
        assert_eq!(setup.config["session"]["idle_timeout"].as_str(), Some("1s"));
        assert_eq!(setup.config["session"]["sync_interval"].as_str(), Some("2s"));
        assert_eq!(setup.config["limits"]["depth"].as_integer(), Some(3));
        let text = toml::to_string(&setup.config).unwrap();
        assert_eq!(text.parse::<Table>().unwrap(), setup.config);
    }
}
