//! What a sandbox's tags say: by them a host finds its own again.

use std::collections::BTreeMap;

use agent_host_modal::{ImageId, Network, SandboxOptions};
use agent_host_session::ports::sandbox::Spec;

use super::Options;

/// The host.
pub(super) const HOST: &str = "agent-host";
/// Which process of the host uses it.
pub(super) const PROCESS: &str = "agent-host-process";
/// For which session it is, if for any.
pub(super) const SESSION: &str = "agent-host-session";
/// Under which epoch the session got it.
pub(super) const EPOCH: &str = "agent-host-epoch";
/// What it is like.
const SHAPE: &str = "agent-host-shape";
/// One creation alone.
pub(super) const CREATION: &str = "agent-host-creation";

/// What a sandbox is like: one can stand in for another only if this is the same.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Shape(String);

impl Shape {
    pub(super) fn new(image: &ImageId, options: &Options) -> Self {
        let network = match &options.network {
            Network::Open => "open".to_owned(),
            Network::Blocked => "blocked".to_owned(),
            Network::Allowed(ranges) => ranges.join(","),
        };
        let Options { milli_cpu, memory_mib, lifetime, idle_timeout, .. } = options;
        Self(format!(
            "{} cpu={milli_cpu}m memory={memory_mib}MiB lifetime={}s idle={}s network={network}",
            image.as_str(),
            lifetime.as_secs(),
            idle_timeout.as_secs()
        ))
    }

    /// Whether a sandbox with these tags is like this.
    pub(super) fn is_of(&self, tags: &BTreeMap<String, String>) -> bool {
        tags.get(SHAPE) == Some(&self.0)
    }
}

/// The tags of a sandbox that this process makes or takes over.
pub(super) fn tags(options: &Options, shape: &Shape, spec: Option<&Spec>) -> BTreeMap<String, String> {
    let own = [(HOST, options.host.clone()), (PROCESS, options.process.clone()), (SHAPE, shape.0.clone())];
    let session = spec.map(|spec| [(SESSION, spec.session.as_str().to_owned()), (EPOCH, spec.epoch.0.to_string())]);
    own.into_iter().chain(session.into_iter().flatten()).map(|(name, value)| (name.to_owned(), value)).collect()
}

/// Gives a sandbox that is to be created its tags.
pub(super) fn tagged(options: SandboxOptions, tags: BTreeMap<String, String>) -> SandboxOptions {
    tags.into_iter().fold(options, |options, (name, value)| options.tag(name, value))
}
