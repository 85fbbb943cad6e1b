//! `agent-host copy`: everything from one store to another, while no host runs on either.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use agent_host_wasm::copy::{Copier, Totals, Writes};
use agent_host_wasm::exchange::Plan;
use agent_host_wasm::swap::Configuration as _;
use agent_host_wasm::{Engine, EngineOptions, Persistence};
use anyhow::Context as _;
use bytesize::ByteSize;
use indicatif::{ProgressBar, ProgressStyle};

use crate::components::{Configured, Grantor, registry};
use crate::config::database::without_password;
use crate::config::environment::Process;
use crate::config::{self, Config, Sources};
use crate::data_dir::{DataDir, registry_cache};

/// A store, and what keeps a host from using it meanwhile.
struct Place {
    persistence: Persistence,
    _lock: Option<DataDir>,
}

/// Copies from one store to another and gives what was copied. A store is `sqlite:PATH`, `postgres://…` (or a reference to it, `env:NAME`), or the path of a configuration file,
/// whose `[persistence]` it is then.
/// A copy that was broken off goes on when it is begun again.
pub async fn copy(from: &str, to: &str) -> anyhow::Result<Totals> {
    anyhow::ensure!(from != to, "both stores are {}", without_password(from));
    let source = open(from, true).await.with_context(|| format!("failed to open the store to copy from, {}", without_password(from)))?;
    let target = open(to, false).await.with_context(|| format!("failed to open the store to copy to, {}", without_password(to)))?;
    // Draws nothing where nobody looks.
    let bar = ProgressBar::new(0);
    bar.set_style(
        ProgressStyle::with_template("{wide_bar} {pos}/{len} sessions, {msg}, {eta} left").context("failed to make a progress bar")?,
    );
    let progress = |totals: Totals| {
        bar.set_position(totals.sessions);
        bar.set_message(format!("{} copied, {} there before", ByteSize(totals.bytes), ByteSize(totals.kept_bytes)));
    };
    let copier = Copier::new(&source.persistence, &target.persistence, &progress);
    copier.check_target().await?;
    let sessions = copier.sessions().await?;
    bar.set_length(sessions.len() as u64);
    copier.copy_sessions(sessions, Writes::Rest).await?;
    copier.copy_profiles().await?;
    bar.finish_and_clear();
    Ok(copier.totals())
}

async fn open(store: &str, must_exist: bool) -> anyhow::Result<Place> {
    let working_dir = std::env::current_dir().context("failed to find the working directory")?;
    let mut flags = BTreeMap::new();
    let load = |file: Option<&Path>, flags: &BTreeMap<String, String>| -> Result<Config, config::Error> {
        let sources = Sources { file, flags, environment: &Process, working_dir: &working_dir };
        Ok(config::load(&sources)?.config)
    };
    let is_postgres = ["postgres://", "postgresql://", "env:", "file:"].iter().any(|prefix| store.starts_with(prefix));
    let (config, main, lock) = match store.strip_prefix("sqlite:") {
        None if is_postgres => {
            flags.insert("persistence.component".to_owned(), "postgresql".to_owned());
            flags.insert("persistence.grants.databases".to_owned(), format!("{{ main = {} }}", toml::Value::from(store)));
            (load(None, &flags)?, PathBuf::new(), None)
        }
        Some(path) => {
            let path = working_dir.join(path);
            anyhow::ensure!(!must_exist || path.is_file(), "there is no database {}", path.display());
            flags.insert("persistence.component".to_owned(), "sqlite".to_owned());
            flags.insert("persistence.grants.databases".to_owned(), "{}".to_owned());
            // In a host's data directory it is that host's: it must not run.
            let data_dir = path.parent().filter(|directory| directory.join("lock").is_file()).map(DataDir::open).transpose()?;
            (load(None, &flags)?, path, data_dir)
        }
        None => {
            let config = load(Some(Path::new(store)), &flags)?;
            let data_dir = DataDir::open(&config.data_dir)?;
            let main = data_dir.database();
            (config, main, Some(data_dir))
        }
    };
    if let Some(data_dir) = &lock {
        // What was acknowledged would be missing in the copy.
        anyhow::ensure!(
            !data_dir.has_journal()?,
            "the journal in {} has writes that the store did not get yet: start the host, and wait until its /health says ok",
            data_dir.journal().display()
        );
    }
    let engine = Engine::new(EngineOptions::default())?;
    let registry = registry::registry(&config.components.registry, registry_cache(&config.data_dir))?;
    let configured = Configured::new(config.persistence, Arc::new(registry), main, Grantor::new()?, false).await?;
    let options = configured.options(&Plan::configured()).await.map_err(anyhow::Error::msg)?;
    let component = engine.load(configured.source()).await?;
    Ok(Place { persistence: Persistence::start(&engine, component, options).await?, _lock: lock })
}
