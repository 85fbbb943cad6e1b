//! What a sandbox is to be.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use crate::app::check_name;
use crate::proto::client::network_access::NetworkAccessType;
use crate::proto::client::sandbox::OpenPortsOneof;
use crate::proto::client::{
    GpuConfig, NetworkAccess, PortSpec, PortSpecs, Resources, Sandbox as Definition, SandboxTag, SchedulerPlacement, SecretSource,
    StringMap, secret_source,
};
use crate::{Error, ImageId};

/// How long a sandbox lives if nothing is said.
const LIFETIME: Duration = Duration::from_secs(300);

/// How long one can live at most.
const MAX_LIFETIME: Duration = Duration::from_secs(24 * 60 * 60);

/// What programs in the sandbox can reach.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Network {
    /// Everything.
    #[default]
    Open,
    /// Nothing.
    Blocked,
    /// Only these ranges of addresses, such as `10.0.0.0/8`.
    Allowed(Vec<String>),
}

/// A port that is reachable from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Port {
    /// In the sandbox.
    pub number: u16,
    /// Whether TCP goes through as it is, instead of TLS that ends at Modal.
    pub unencrypted: bool,
}

/// What a sandbox is to be. What is not said is Modal's default.
#[derive(Clone, Default)]
pub struct SandboxOptions {
    command: Vec<String>,
    working_dir: Option<String>,
    lifetime: Option<Duration>,
    idle_timeout: Option<Duration>,
    cpu: Option<f64>,
    memory_mib: Option<u32>,
    env: BTreeMap<String, String>,
    secrets: Vec<String>,
    tags: BTreeMap<String, String>,
    name: Option<String>,
    network: Network,
    ports: Vec<Port>,
    regions: Vec<String>,
    cloud: String,
}

impl fmt::Debug for SandboxOptions {
    /// Without the values of the environment, which may be secret.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("SandboxOptions")
            .field("command", &self.command)
            .field("working_dir", &self.working_dir)
            .field("lifetime", &self.lifetime)
            .field("idle_timeout", &self.idle_timeout)
            .field("cpu", &self.cpu)
            .field("memory_mib", &self.memory_mib)
            .field("env", &self.env.keys())
            .field("secrets", &self.secrets)
            .field("tags", &self.tags)
            .field("name", &self.name)
            .field("network", &self.network)
            .field("ports", &self.ports)
            .finish_non_exhaustive()
    }
}

impl SandboxOptions {
    /// A sandbox of the image's own command, with Modal's defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// The program that the sandbox is for: it ends with it. Without one it lives until it is terminated or its lifetime is over.
    #[must_use]
    pub fn command(mut self, command: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.command = command.into_iter().map(Into::into).collect();
        self
    }

    /// Where programs begin, an absolute path.
    #[must_use]
    pub fn working_dir(mut self, path: impl Into<String>) -> Self {
        self.working_dir = Some(path.into());
        self
    }

    /// How long it lives at most, in whole seconds up to 24 hours; 5 minutes if nothing is said.
    #[must_use]
    pub fn lifetime(mut self, lifetime: Duration) -> Self {
        self.lifetime = Some(lifetime);
        self
    }

    /// After how long without a running command it ends, in whole seconds.
    #[must_use]
    pub fn idle_timeout(mut self, timeout: Duration) -> Self {
        self.idle_timeout = Some(timeout);
        self
    }

    /// How many cores are set aside for it, to a thousandth: `0.5` is half of one.
    #[must_use]
    pub fn cpu(mut self, cores: f64) -> Self {
        self.cpu = Some(cores);
        self
    }

    /// How much memory is set aside for it, in MiB.
    #[must_use]
    pub fn memory_mib(mut self, memory: u32) -> Self {
        self.memory_mib = Some(memory);
        self
    }

    /// A variable of the environment of all programs. Modal treats it as a secret.
    #[must_use]
    pub fn env(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.env.insert(name.into(), value.into());
        self
    }

    /// A stored secret, by its id (`st-…`), whose variables are in the environment. Those of [`env`](Self::env) win.
    #[must_use]
    pub fn secret(mut self, id: impl Into<String>) -> Self {
        self.secrets.push(id.into());
        self
    }

    /// A tag, by which sandboxes can be listed.
    #[must_use]
    pub fn tag(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.tags.insert(name.into(), value.into());
        self
    }

    /// A name, which no other running sandbox of the app can have.
    #[must_use]
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// What its programs can reach.
    #[must_use]
    pub fn network(mut self, network: Network) -> Self {
        self.network = network;
        self
    }

    /// A port that can be reached from outside, see [`tunnels`](crate::Sandbox::tunnels).
    #[must_use]
    pub fn port(mut self, port: Port) -> Self {
        self.ports.push(port);
        self
    }

    /// The regions in which it may run.
    #[must_use]
    pub fn regions(mut self, regions: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.regions = regions.into_iter().map(Into::into).collect();
        self
    }

    /// The cloud in which it has to run, such as `aws`.
    #[must_use]
    pub fn cloud(mut self, cloud: impl Into<String>) -> Self {
        self.cloud = cloud.into();
        self
    }

    pub(super) fn tags(&self) -> Vec<SandboxTag> {
        tags(&self.tags)
    }

    /// The variables of the environment.
    pub(super) fn environment(&self) -> &BTreeMap<String, String> {
        &self.env
    }

    pub(super) fn secret_sources(&self) -> Vec<SecretSource> {
        secret_sources(&self.secrets, &self.env)
    }

    pub(super) fn definition(&self, doing: &'static str, image: &ImageId) -> Result<Definition, Error> {
        let invalid = |reason: String| Error::Invalid { doing, reason };
        if let Some(path) = self.working_dir.as_ref().filter(|path| !path.starts_with('/')) {
            return Err(invalid(format!("the working directory {path:?} is no absolute path")));
        }
        if let Some(name) = &self.name {
            check_name(doing, name)?;
        }
        check_environment(doing, self.env.keys())?;
        let lifetime = self.lifetime.unwrap_or(LIFETIME);
        if lifetime > MAX_LIFETIME {
            return Err(invalid(format!("a lifetime of {lifetime:?} is more than 24 hours")));
        }
        let cpu = self.cpu.unwrap_or(0.0);
        if !(0.0..=1e6).contains(&cpu) {
            return Err(invalid(format!("{cpu} cores cannot be had")));
        }
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it was checked")]
        let milli_cpu = (cpu * 1000.0).round() as u32;
        let (network_access_type, allowed_cidrs) = match &self.network {
            Network::Open => (NetworkAccessType::Open, Vec::new()),
            Network::Blocked => (NetworkAccessType::Blocked, Vec::new()),
            Network::Allowed(ranges) => (NetworkAccessType::Allowlist, ranges.clone()),
        };
        let port = |port: &Port| PortSpec { port: port.number.into(), unencrypted: port.unencrypted, tunnel_type: None };
        Ok(Definition {
            entrypoint_args: self.command.clone(),
            image_id: image.as_str().to_owned(),
            secret_ids: self.secrets.clone(),
            resources: Some(Resources {
                memory_mb: self.memory_mib.unwrap_or(0),
                milli_cpu,
                gpu_config: Some(GpuConfig::default()),
                ..Resources::default()
            }),
            timeout_secs: whole_seconds(doing, lifetime)?,
            workdir: self.working_dir.clone(),
            idle_timeout_secs: self.idle_timeout.map(|timeout| whole_seconds(doing, timeout)).transpose()?,
            name: self.name.clone(),
            open_ports_oneof: Some(OpenPortsOneof::OpenPorts(PortSpecs { ports: self.ports.iter().map(port).collect() })),
            network_access: Some(NetworkAccess {
                network_access_type: network_access_type.into(),
                allowed_cidrs,
                allowed_domains: Vec::new(),
            }),
            scheduler_placement: (!self.regions.is_empty()).then(|| SchedulerPlacement { regions: self.regions.clone() }),
            cloud_provider_str: self.cloud.clone(),
            ..Definition::default()
        })
    }
}

pub(super) fn tags(tags: &BTreeMap<String, String>) -> Vec<SandboxTag> {
    tags.iter().map(|(name, value)| SandboxTag { tag_name: name.clone(), tag_value: value.clone() }).collect()
}

/// Where variables of an environment come from: stored secrets, and then what was said.
pub(crate) fn secret_sources(secrets: &[String], env: &BTreeMap<String, String>) -> Vec<SecretSource> {
    let stored = secrets.iter().map(|id| secret_source::Source::SecretId(id.clone()));
    let said = (!env.is_empty()).then(|| secret_source::Source::Env(StringMap { contents: env.clone().into_iter().collect() }));
    stored.chain(said).map(|source| SecretSource { source: Some(source) }).collect()
}

/// Names of variables.
pub(crate) fn check_environment<'a>(doing: &'static str, names: impl IntoIterator<Item = &'a String>) -> Result<(), Error> {
    let is_good = |name: &str| {
        let mut bytes = name.bytes();
        bytes.next().is_some_and(|first| first.is_ascii_alphabetic() || first == b'_')
            && bytes.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
    };
    match names.into_iter().find(|name| !is_good(name)) {
        Some(name) => Err(Error::Invalid { doing, reason: format!("{name:?} is no name of an environment variable") }),
        None => Ok(()),
    }
}

/// Modal counts in seconds.
pub(crate) fn whole_seconds(doing: &'static str, duration: Duration) -> Result<u32, Error> {
    match u32::try_from(duration.as_secs()) {
        Ok(seconds) if seconds > 0 && duration.subsec_nanos() == 0 => Ok(seconds),
        _ => Err(Error::Invalid { doing, reason: format!("{duration:?} is no number of whole seconds, at least 1") }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn definition(options: &SandboxOptions) -> Result<Definition, Error> {
        options.definition("testing", &ImageId::new("im-1".to_owned()))
    }

    #[test]
    fn what_is_not_said_is_modals_default() {
        let definition = definition(&SandboxOptions::new()).unwrap();
        assert_eq!((definition.timeout_secs, definition.idle_timeout_secs, definition.workdir), (300, None, None));
        assert_eq!(definition.network_access.unwrap().network_access_type(), NetworkAccessType::Open);
        assert!(definition.entrypoint_args.is_empty());
    }

    #[test]
    fn what_modal_would_refuse_is_refused_before() {
        let bad = [
            SandboxOptions::new().working_dir("relative"),
            SandboxOptions::new().lifetime(Duration::from_millis(1500)),
            SandboxOptions::new().lifetime(Duration::ZERO),
            SandboxOptions::new().lifetime(Duration::from_secs(86_401)),
            SandboxOptions::new().idle_timeout(Duration::from_millis(10)),
            SandboxOptions::new().cpu(-1.0),
            SandboxOptions::new().cpu(f64::NAN),
            SandboxOptions::new().name("with space"),
            SandboxOptions::new().env("1A", "x"),
            SandboxOptions::new().env("A=B", "x"),
        ];
        for options in bad {
            assert!(matches!(definition(&options), Err(Error::Invalid { .. })), "{options:?}");
        }
    }

    #[test]
    fn no_value_of_the_environment_is_shown() {
        let options = SandboxOptions::new().env("KEY", "SECRET");
        assert!(!format!("{options:?}").contains("SECRET"));
        assert!(!format!("{:?}", options.secret_sources()).contains("SECRET"));
    }
}
