//! Building the host from its configuration, running it until it is told to stop, and draining it.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::sync::Arc;
use std::time::Duration;

use agent_host_agents::claude::{self, ClaudeAgentSdk};
use agent_host_agents::echo::Echo;
use agent_host_sandboxes::local::{self, Local};
use agent_host_session::manager::{Manager, Settings};
use agent_host_session::ports::agent::Architecture;
use agent_host_session::ports::environment::System;
use agent_host_session::ports::sandbox::Provider;
use agent_host_session::ports::store::Store;
use agent_host_session::{log, run};
use agent_host_wasm::grants::{Access, Directory};
use agent_host_wasm::{Database, Engine, EngineOptions, Grants, Persistence, PersistenceOptions, Source, SqliteOptions};
use anyhow::Context as _;
use secrecy::ExposeSecret as _;
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::config::choice::{Isolation, Provider as ProviderChoice};
use crate::config::grant::{Component, Database as DatabaseGrant};
use crate::config::schema::{Config, Persistence as PersistenceConfig};
use crate::config::{profiles, schema};
use crate::data_dir::DataDir;

/// How long the adapter's running calls may take when everything else has ended.
const ADAPTER_GRACE: Duration = Duration::from_secs(5);

/// A host that is built and does not serve yet.
pub struct Host {
    /// Its sessions.
    pub manager: Arc<Manager>,
    persistence: Arc<Persistence>,
    /// Locked as long as the host lives.
    _data_dir: DataDir,
}

impl Host {
    /// Builds the host.
    pub async fn build(config: &Config) -> anyhow::Result<Self> {
        let data_dir = DataDir::open(&config.data_dir)?;
        let persistence = Arc::new(open_persistence(&config.persistence, &data_dir).await?);
        load_profiles(persistence.as_ref(), &config.profiles).await?;
        let manager = Manager::new(
            Arc::clone(&persistence) as Arc<dyn Store>,
            provider(&config.sandbox, &data_dir)?,
            architectures(&config.agents),
            Arc::new(System),
            settings(config),
        );
        Ok(Self { manager, persistence, _data_dir: data_dir })
    }

    /// Ends what is left when its sessions have ended.
    pub async fn close(self) {
        self.persistence.shutdown(ADAPTER_GRACE).await;
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
    let server = agent_host_api::serve(listener, Arc::clone(manager), api_options(&config), shutdown.clone());
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

async fn open_persistence(config: &PersistenceConfig, data_dir: &DataDir) -> anyhow::Result<Persistence> {
    let engine = Engine::new(EngineOptions {
        cache_dir: Some(data_dir.component_cache()),
        memory_limit: usize::try_from(config.memory).context("persistence.memory is more than this machine can address")?,
        call_timeout: config.call_timeout,
        ..EngineOptions::default()
    })?;
    let mut databases = config.grants.databases.clone();
    let source = match &config.component {
        Component::Sqlite => {
            databases.entry("main".to_owned()).or_insert_with(|| DatabaseGrant::Sqlite(data_dir.database()));
            Source::Builtin("sql".to_owned())
        }
        Component::Memory => Source::Builtin("memory".to_owned()),
        Component::File(path) => Source::File(path.clone()),
    };
    let options = PersistenceOptions {
        config: config.config.clone().into_iter().collect(),
        grants: grants(&config.grants, databases).await?,
        instances: u32::try_from(config.pool).context("persistence.pool is too large")?,
        ..PersistenceOptions::default()
    };
    let component = engine.load(source).await?;
    Ok(Persistence::start(&engine, component, options).await?)
}

async fn grants(config: &schema::Grants, databases: BTreeMap<String, DatabaseGrant>) -> anyhow::Result<Grants> {
    let opening = move || {
        let open = |(name, DatabaseGrant::Sqlite(path)): (String, DatabaseGrant)| {
            let database = Database::open_sqlite(&path, &SqliteOptions::default())
                .with_context(|| format!("failed to open the database {name:?}, {}", path.display()))?;
            Ok::<_, anyhow::Error>((name, database))
        };
        databases.into_iter().map(open).collect::<Result<BTreeMap<_, _>, _>>()
    };
    let databases = tokio::task::spawn_blocking(opening).await.context("opening the databases broke off")??;
    let directories = config.dirs.iter().map(|directory| Directory {
        host: directory.host.clone(),
        guest: directory.guest.clone(),
        access: if directory.write { Access::ReadWrite } else { Access::ReadOnly },
    });
    let environment = config.env.iter().map(|(name, value)| (name.clone(), value.value().expose_secret().to_owned()));
    Ok(Grants { directories: directories.collect(), environment: environment.collect(), databases })
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

fn api_options(config: &Config) -> agent_host_api::Options {
    let defaults = agent_host_api::Options::default();
    agent_host_api::Options {
        api_keys: config.auth.api_keys.iter().map(|key| key.value().clone()).collect(),
        allowed_origins: config.auth.allowed_origins.clone(),
        max_body_bytes: bytes(config.limits.body),
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
