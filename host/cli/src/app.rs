//! Building the host from its configuration, running it until it is told to stop, and draining it.

use std::io::Write as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use agent_host_agents::claude::{self, ClaudeAgentSdk};
use agent_host_agents::echo::Echo;
use agent_host_archive::FileArchive;
use agent_host_journal::JournaledStore;
use agent_host_modal::Client;
use agent_host_registry::Registry;
use agent_host_sandboxes::local::{self, Local};
use agent_host_sandboxes::modal::{self, Modal};
use agent_host_session::manager::{InterruptedTurn, Leases, Manager, Ports, Settings};
use agent_host_session::ports::agent::Architecture;
use agent_host_session::ports::archive::NoArchive;
use agent_host_session::ports::environment::System;
use agent_host_session::ports::sandbox::Provider;
use agent_host_session::ports::store::{Owner, Store};
use agent_host_session::{log, run};
use agent_host_wasm::exchange::{self, OnStart, Watch};
use agent_host_wasm::hooks::Control;
use agent_host_wasm::hooks::roster::Roster;
use agent_host_wasm::hooks::spool::Spool;
use agent_host_wasm::swap::Components;
use agent_host_wasm::{Engine, EngineOptions, Limits};
use anyhow::Context as _;
use secrecy::{ExposeSecret as _, SecretString};
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::agenda;
use crate::components::{Configured, ConfiguredHooks, Grantor, Operator, instances, memory as bytes, registry, spool_options};
use crate::config::choice::{
    InterruptedTurn as InterruptedTurnChoice, Isolation, Network, OnStart as OnStartChoice, Provider as ProviderChoice,
};
use crate::config::grant::Component;
use crate::config::schema::Config;
use crate::config::{profiles, schema};
use crate::data_dir::DataDir;
use crate::metrics;
use crate::wit;

/// How long the adapter's and the hooks' running calls may take when everything else has ended.
const COMPONENT_GRACE: Duration = Duration::from_secs(5);

/// Instances that may be added to those of the configured components while the host runs: some hooks with a pool each.
const ROOM_FOR_MORE: u32 = 64;

/// A host that is built and does not serve yet.
pub struct Host {
    /// Its sessions.
    pub manager: Arc<Manager>,
    journal: Arc<JournaledStore>,
    components: Arc<Components>,
    roster: Arc<Roster>,
    registry: Arc<Registry>,
    archive: Option<Arc<FileArchive>>,
    _watches: Vec<Watch>,
    /// Keys for the admin calls.
    admin_keys: Vec<SecretString>,
    /// Locked as long as the host lives.
    _data_dir: DataDir,
}

impl Host {
    /// Builds the host.
    pub async fn build(config: &Config) -> anyhow::Result<Self> {
        let data_dir = DataDir::open(&config.data_dir)?;
        let engine = engine(config, &data_dir)?;
        let grantor = Grantor::new()?;
        let registry = Arc::new(registry::registry(&config.components.registry, data_dir.registry_cache())?);
        let components = start_components(config, &data_dir, engine.clone(), Arc::clone(&registry), grantor.clone()).await?;
        let roster = start_hooks(config, &data_dir, engine, Arc::clone(&registry), grantor).await?;
        let journal = journal(config, &data_dir, components.store()).await?;
        load_profiles(journal.as_ref(), &config.profiles).await?;
        let archive = archive(config, &data_dir)?;
        let ports = Ports {
            store: Arc::<JournaledStore>::clone(&journal),
            provider: provider(config, &data_dir)?,
            architectures: architectures(&config.agents).into(),
            environment: Arc::new(System),
            hooks: roster.hooks(),
            agenda: Arc::new(agenda::Files::open(data_dir.agenda())?),
            archive: match &archive {
                Some(archive) => Arc::<FileArchive>::clone(archive),
                None => Arc::new(NoArchive),
            },
        };
        let manager = Manager::new(ports, settings(config, &data_dir)?);
        let control: Arc<dyn Control> = Arc::<Manager>::clone(&manager);
        roster.connect(Arc::downgrade(&control));
        let watches = watch(config, &components, &roster)?;
        let admin_keys = match config.auth.admin_keys.as_slice() {
            [] => vec![data_dir.admin_key()?.into()],
            keys => keys.iter().map(|key| key.value().clone()).collect(),
        };
        Ok(Self { manager, journal, components, roster, registry, archive, _watches: watches, admin_keys, _data_dir: data_dir })
    }

    /// Ends what is left when its sessions have ended.
    pub async fn close(&self) {
        self.roster.shutdown(COMPONENT_GRACE).await;
        self.components.shutdown(COMPONENT_GRACE).await;
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
    let operator = Arc::new(Operator {
        components: Arc::clone(&host.components),
        roster: Arc::clone(&host.roster),
        registry: Arc::clone(&host.registry),
    });
    let contract = wit::archive().context("failed to make the archive of the contract")?;
    let options = agent_host_api::Options { contract: contract.into(), ..api_options(&config, &host.admin_keys) };
    let registry = metrics::registry(manager, &host.journal, &host.components, &host.roster, host.archive.as_deref());
    let server = agent_host_api::serve(listener, Arc::clone(manager), operator, registry, options, shutdown.clone());
    let mut served = tokio::spawn(server);
    // For those who start the host and must know its port; the log goes to standard error.
    // Nobody may be reading.
    let _ = writeln!(std::io::stdout(), "listening on http://{address}");
    tracing::info!(%address, "serving");
    manager.keep_leases();
    manager.take_up();
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
        host.close().await;
        anyhow::Ok(())
    };
    tokio::select! {
        drained = drain => drained?,
        () = stop.received() => anyhow::bail!("ended by a second signal, before everything was stored"),
    }
    tracing::info!("stopped");
    Ok(())
}

/// What components run on: with room for one generation of each that serves, one that can be gone back to, and one that is being prepared.
fn engine(config: &Config, data_dir: &DataDir) -> anyhow::Result<Engine> {
    let hooks = config.hooks.iter().map(|hook| &hook.limits);
    // Beside the instances that decide there is one that is told of events.
    let of_hooks = hooks.clone().map(|limits| instances(limits).saturating_add(1).saturating_mul(3)).fold(0, u32::saturating_add);
    let of_adapter = instances(&config.persistence.limits).saturating_mul(3);
    let memory = hooks.chain([&config.persistence.limits]).map(|limits| bytes(limits.memory));
    Ok(Engine::new(EngineOptions {
        cache_dir: Some(data_dir.component_cache()),
        max_instances: of_adapter.saturating_add(of_hooks).saturating_add(ROOM_FOR_MORE),
        memory_limit: memory.fold(Limits::default().memory, usize::max),
        ..EngineOptions::default()
    })?)
}

async fn start_components(
    config: &Config,
    data_dir: &DataDir,
    engine: Engine,
    registry: Arc<Registry>,
    grantor: Grantor,
) -> anyhow::Result<Arc<Components>> {
    let needs_leases = config.leases.address.is_some();
    let configured = Configured::new(config.persistence.clone(), registry, data_dir.database(), grantor, needs_leases).await?;
    Ok(Components::start(engine, Arc::new(configured), data_dir.components(), exchange_settings(config)).await?)
}

/// The journal in front of the adapter.
async fn journal(config: &Config, data_dir: &DataDir, store: Arc<dyn Store>) -> anyhow::Result<Arc<JournaledStore>> {
    let schema::Journal { max, fsync } = config.journal;
    // Another host that takes a session over does not know this one's journal.
    let max_bytes = if config.leases.address.is_some() { 0 } else { max };
    let options = agent_host_journal::Options { directory: data_dir.journal(), max_bytes, fsync };
    let runtime = tokio::runtime::Handle::current();
    let open = move || {
        let _runtime = runtime.enter();
        JournaledStore::open(store, options)
    };
    Ok(tokio::task::spawn_blocking(open).await.context("opening the journal broke off")??)
}

async fn start_hooks(
    config: &Config,
    data_dir: &DataDir,
    engine: Engine,
    registry: Arc<Registry>,
    grantor: Grantor,
) -> anyhow::Result<Arc<Roster>> {
    let (path, options) = (data_dir.events(), spool_options(&config.events));
    let spool =
        tokio::task::spawn_blocking(move || Spool::open(&path, options)).await.context("opening the events of hooks broke off")??;
    let configured = ConfiguredHooks::new(config.hooks.clone(), registry, grantor).await?;
    Ok(Roster::start(engine, Arc::new(configured), data_dir.hooks(), spool, exchange_settings(config)).await?)
}

fn exchange_settings(config: &Config) -> exchange::Settings {
    let schema::Components { watch: _, on_start, keep, drain_timeout, rollback_after, probation, registry: _ } = &config.components;
    exchange::Settings {
        on_start: match on_start {
            OnStartChoice::Last => OnStart::Last,
            OnStartChoice::Configured => OnStart::Configured,
        },
        keep: *keep,
        drain_timeout: *drain_timeout,
        rollback_after: *rollback_after as u64,
        probation: *probation,
    }
}

/// Watches the files of the configured components, if that is wanted.
fn watch(config: &Config, components: &Arc<Components>, roster: &Arc<Roster>) -> anyhow::Result<Vec<Watch>> {
    if !config.components.watch {
        return Ok(Vec::new());
    }
    let mut watches = roster.watch()?;
    if let Component::File(path) = &config.persistence.component {
        watches.push(components.watch(path)?);
    }
    Ok(watches)
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

fn provider(config: &Config, data_dir: &DataDir) -> anyhow::Result<Arc<dyn Provider>> {
    let (config, projects) = (&config.sandbox, config.profiles.projects.clone());
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
            options.projects = projects;
            Ok(Arc::new(Local::new(options)?))
        }
        ProviderChoice::Modal => Ok(Arc::new(Modal::new(modal_options(&config.modal, projects, data_dir)?)?)),
    }
}

fn modal_options(config: &schema::Modal, projects: Option<PathBuf>, data_dir: &DataDir) -> anyhow::Result<modal::Options> {
    let schema::Modal { app, image, agents, lifetime, idle_timeout, milli_cpu, memory, network, cidrs, warm, orphan_grace, ignore } =
        config;
    let client = Client::from_env().context("sandboxes are to be made at Modal (sandbox.provider)")?;
    Ok(modal::Options {
        client,
        app: app.clone(),
        host: data_dir.host_id()?,
        process: data_dir.process_id().to_owned(),
        warm: *warm as usize,
        orphan_grace: *orphan_grace,
        image: image.clone(),
        agents: agents.clone(),
        lifetime: *lifetime,
        idle_timeout: *idle_timeout,
        milli_cpu: u32::try_from(*milli_cpu).unwrap_or(u32::MAX),
        memory_mib: u32::try_from(memory.div_ceil(1024 * 1024)).unwrap_or(u32::MAX),
        network: match network {
            Network::Blocked => modal::Network::Blocked,
            Network::Open if cidrs.is_empty() => modal::Network::Open,
            Network::Open => modal::Network::Allowed(cidrs.clone()),
        },
        projects,
        ignore: ignore.clone(),
    })
}

fn architectures(config: &schema::Agents) -> [Arc<dyn Architecture>; 2] {
    let schema::ClaudeAgentSdk { command, args, env } = &config.claude_agent_sdk;
    let env = env.iter().map(|(name, value)| (name.clone(), value.value().expose_secret().to_owned()));
    let claude = claude::Options { command: command.clone(), args: args.clone(), env: env.collect() };
    [Arc::new(ClaudeAgentSdk::new(claude)), Arc::new(Echo)]
}

/// What keeps the events that leave sessions' memory. Whatever an earlier process has left there is removed, also if nothing is to be kept any more.
fn archive(config: &Config, data_dir: &DataDir) -> anyhow::Result<Option<Arc<FileArchive>>> {
    let (limits, defaults) = (&config.limits, agent_host_archive::Limits::default());
    let archive = FileArchive::open(
        &data_dir.archive(),
        agent_host_archive::Limits {
            events: limits.log_archive_events,
            bytes: limits.log_archive_bytes,
            age: limits.log_archive_age,
            total_bytes: limits.log_archive_total_bytes,
            ..defaults
        },
    )?;
    Ok(limits.log_archive.then(|| Arc::new(archive)))
}

fn settings(config: &Config, data_dir: &DataDir) -> anyhow::Result<Settings> {
    let (session, limits, defaults) = (&config.session, &config.limits, Settings::default());
    let leases = match &config.leases {
        schema::Leases { address: Some(address), ttl } => {
            Some(Leases { owner: Owner { id: data_dir.host_id()?, address: address.as_str().to_owned() }, ttl: *ttl })
        }
        schema::Leases { address: None, .. } => None,
    };
    Ok(Settings {
        leases,
        idle_timeout: session.idle_timeout,
        sync_interval: session.sync_interval,
        shutdown_grace: session.shutdown_grace,
        interrupted_turn: match session.interrupted_turn {
            InterruptedTurnChoice::Report => InterruptedTurn::Report,
            InterruptedTurnChoice::Resume => InterruptedTurn::Resume,
        },
        queue: limits.queue,
        message_bytes: bytes(limits.message),
        options_bytes: bytes(limits.options),
        sessions: limits.sessions,
        files: limits.files,
        log: log::Limits { events: limits.log_events, bytes: bytes(limits.log_bytes) },
        run: run::Limits { line_bytes: bytes(limits.line), file_bytes: limits.file, start_timeout: session.start_timeout, ..defaults.run },
        ..defaults
    })
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
