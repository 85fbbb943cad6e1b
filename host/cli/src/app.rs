//! Building the host from its configuration, running it until it is told to stop, and draining it.

use std::io::Write as _;
use std::sync::Arc;
use std::time::Duration;

use agent_host_agents::claude::{self, ClaudeAgentSdk};
use agent_host_agents::echo::Echo;
use agent_host_sandboxes::local::{self, Local};
use agent_host_session::manager::{Manager, Settings};
use agent_host_session::ports::agent::Architecture;
use agent_host_session::ports::environment::System;
use agent_host_session::ports::hooks::NoHooks;
use agent_host_session::ports::sandbox::Provider;
use agent_host_session::ports::store::Store;
use agent_host_session::{log, run};
use agent_host_wasm::swap::{Components, OnStart, SwapSettings, Watch};
use agent_host_wasm::{Engine, EngineOptions};
use anyhow::Context as _;
use secrecy::{ExposeSecret as _, SecretString};
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::components::{Configured, Operator};
use crate::config::choice::{Isolation, OnStart as OnStartChoice, Provider as ProviderChoice};
use crate::config::grant::Component;
use crate::config::schema::Config;
use crate::config::{profiles, schema};
use crate::data_dir::DataDir;
use crate::metrics;

/// How long the adapter's running calls may take when everything else has ended.
const ADAPTER_GRACE: Duration = Duration::from_secs(5);

/// A host that is built and does not serve yet.
pub struct Host {
    /// Its sessions.
    pub manager: Arc<Manager>,
    components: Arc<Components>,
    _watch: Option<Watch>,
    /// Keys for the admin calls.
    admin_keys: Vec<SecretString>,
    /// Locked as long as the host lives.
    _data_dir: DataDir,
}

impl Host {
    /// Builds the host.
    pub async fn build(config: &Config) -> anyhow::Result<Self> {
        let data_dir = DataDir::open(&config.data_dir)?;
        let components = start_components(config, &data_dir).await?;
        let store = components.store();
        load_profiles(store.as_ref(), &config.profiles).await?;
        let manager = Manager::new(
            store,
            provider(&config.sandbox, &data_dir)?,
            architectures(&config.agents),
            Arc::new(System),
            Arc::new(NoHooks),
            settings(config),
        );
        let watch = watch(config, &components)?;
        let admin_keys = match config.auth.admin_keys.as_slice() {
            [] => vec![data_dir.admin_key()?.into()],
            keys => keys.iter().map(|key| key.value().clone()).collect(),
        };
        Ok(Self { manager, components, _watch: watch, admin_keys, _data_dir: data_dir })
    }

    /// Ends what is left when its sessions have ended.
    pub async fn close(self) {
        self.components.shutdown(ADAPTER_GRACE).await;
    }
}

/// Builds the host, serves until Ctrl-C or SIGTERM, and drains.
pub async fn run(config: Config) -> anyhow::Result<()> {
    // Watched from the beginning, so that a signal during the start ends the host in order, too.
    let mut stop = StopSignals::watch()?;
    let host = tokio::select! {
        host = Host::build(&config) => host?,
        () = stop.received() => return Ok(()),
    };
    let manager = &host.manager;

    let listener = TcpListener::bind(config.listen).await.with_context(|| format!("failed to listen on {}", config.listen))?;
    let address = listener.local_addr().context("failed to find the listener's address")?;
    let shutdown = CancellationToken::new();
    let operator = Arc::new(Operator(Arc::clone(&host.components)));
    let options = api_options(&config, &host.admin_keys);
    let registry = metrics::registry(manager, &host.components);
    let server = agent_host_api::serve(listener, Arc::clone(manager), operator, registry, options, shutdown.clone());
    let mut served = tokio::spawn(server);
    // For those who start the host and must know its port; the log goes to standard error.
    // Nobody may be reading.
    let _ = writeln!(std::io::stdout(), "listening on http://{address}");
    tracing::info!(%address, "serving");
    if config.auth.api_keys.is_empty() {
        tracing::warn!(
            "without auth.api_keys every program on this machine can use the API, and so can agents in local sandboxes, which share its network"
        );
    }

    let early = tokio::select! {
        () = stop.received() => None,
        ended = &mut served => Some(ended),
    };
    tracing::info!("stopping: turns get their grace, then everything is stored; a second signal ends the host at once");
    let drain = async {
        // Subscribers see how their sessions end, so they go last.
        manager.shutdown().await;
        shutdown.cancel();
        let ended = match early {
            Some(ended) => ended,
            None => served.await,
        };
        ended.context("the server broke off")??;
        anyhow::Ok(())
    };
    tokio::select! {
        drained = drain => drained?,
        () = stop.received() => anyhow::bail!("ended by a second signal, before everything was stored"),
    }
    host.close().await;
    tracing::info!("stopped");
    Ok(())
}

async fn start_components(config: &Config, data_dir: &DataDir) -> anyhow::Result<Arc<Components>> {
    let persistence = &config.persistence;
    let pool = u32::try_from(persistence.pool).context("persistence.pool is too large")?;
    let engine = Engine::new(EngineOptions {
        cache_dir: Some(data_dir.component_cache()),
        // One generation that serves, one that it can be rolled back to, and one that is being prepared.
        max_instances: pool.saturating_mul(3),
        memory_limit: bytes(persistence.memory),
        ..EngineOptions::default()
    })?;
    let configured = Configured::new(persistence.clone(), data_dir.database())?;
    let schema::Components { watch: _, on_start, keep, drain_timeout, rollback_after, probation } = &config.components;
    let settings = SwapSettings {
        on_start: match on_start {
            OnStartChoice::Last => OnStart::Last,
            OnStartChoice::Configured => OnStart::Configured,
        },
        keep: *keep,
        drain_timeout: *drain_timeout,
        rollback_after: *rollback_after as u64,
        probation: *probation,
    };
    Ok(Components::start(engine, Arc::new(configured), data_dir.components(), settings).await?)
}

/// Watches the file of the configured component, if it is one and that is wanted.
fn watch(config: &Config, components: &Arc<Components>) -> anyhow::Result<Option<Watch>> {
    match &config.persistence.component {
        Component::File(path) if config.components.watch => Ok(Some(components.watch(path)?)),
        _ => Ok(None),
    }
}

/// Puts the profiles of the directory into the store, and the built-in one if there is none of its id.
async fn load_profiles(store: &dyn Store, config: &schema::Profiles) -> anyhow::Result<()> {
    let builtin = profiles::builtin()?;
    if store.load_profile(&builtin.id).await?.is_none() {
        store.save_profile(&builtin).await.context("failed to store the built-in agent profile")?;
    }
    let Some(dir) = &config.dir else { return Ok(()) };
    let loaded = profiles::load_dir(dir)?;
    for profile in &loaded {
        store.save_profile(profile).await.with_context(|| format!("failed to store the agent profile {:?}", profile.id.as_str()))?;
    }
    tracing::info!(count = loaded.len(), dir = %dir.display(), "agent profiles loaded");
    Ok(())
}

fn provider(config: &schema::Sandbox, data_dir: &DataDir) -> anyhow::Result<Arc<dyn Provider>> {
    match config.provider {
        ProviderChoice::Local => {
            let schema::Local { isolation, readable, ignore } = &config.local;
            let isolation = match isolation {
                Isolation::Auto => local::Isolation::Auto,
                Isolation::Required => local::Isolation::Required,
                Isolation::None => local::Isolation::None,
            };
            let mut options = local::Options::new(data_dir.sandboxes());
            options.isolation = isolation;
            options.readable.clone_from(readable);
            options.ignore.clone_from(ignore);
            Ok(Arc::new(Local::new(options)?))
        }
    }
}

fn architectures(config: &schema::Agents) -> [Arc<dyn Architecture>; 2] {
    let schema::ClaudeAgentSdk { command, args, env } = &config.claude_agent_sdk;
    let env = env.iter().map(|(name, value)| (name.clone(), value.value().expose_secret().to_owned()));
    let claude = claude::Options { command: command.clone(), args: args.clone(), env: env.collect() };
    [Arc::new(ClaudeAgentSdk::new(claude)), Arc::new(Echo)]
}

fn settings(config: &Config) -> Settings {
    let (session, limits, defaults) = (&config.session, &config.limits, Settings::default());
    Settings {
        idle_timeout: session.idle_timeout,
        sync_interval: session.sync_interval,
        shutdown_grace: session.shutdown_grace,
        queue: limits.queue,
        message_bytes: bytes(limits.message),
        options_bytes: bytes(limits.options),
        sessions: limits.sessions,
        log: log::Limits { events: limits.log_events, bytes: bytes(limits.log_bytes) },
        run: run::Limits { line_bytes: bytes(limits.line), file_bytes: limits.file, start_timeout: session.start_timeout, ..defaults.run },
        ..defaults
    }
}

fn api_options(config: &Config, admin_keys: &[SecretString]) -> agent_host_api::Options {
    let defaults = agent_host_api::Options::default();
    agent_host_api::Options {
        api_keys: config.auth.api_keys.iter().map(|key| key.value().clone()).collect(),
        allowed_origins: config.auth.allowed_origins.clone(),
        admin_keys: admin_keys.to_vec(),
        max_body_bytes: bytes(config.limits.body),
        max_component_bytes: bytes(config.limits.component),
        max_connections: config.limits.connections,
        socket: agent_host_api::SocketOptions { max_joined: config.limits.subscriptions, ..defaults.socket },
        ..defaults
    }
}

/// A size for memory; one that this machine cannot address is no limit.
fn bytes(size: u64) -> usize {
    usize::try_from(size).unwrap_or(usize::MAX)
}

/// The signals that end the host.
struct StopSignals {
    interrupt: Signal,
    terminate: Signal,
}

impl StopSignals {
    fn watch() -> anyhow::Result<Self> {
        let watch = |kind| signal(kind).context("failed to watch for signals");
        Ok(Self { interrupt: watch(SignalKind::interrupt())?, terminate: watch(SignalKind::terminate())? })
    }

    async fn received(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}
