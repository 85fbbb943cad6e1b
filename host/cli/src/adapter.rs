//! `agent-host adapter`: for those who write persistence adapters.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use agent_host_kit::report::{Outcome, Tried};
use agent_host_kit::{Options, Report, Subject, bench};
use agent_host_session::id::SessionId;
use agent_host_wasm::exchange::Plan;
use agent_host_wasm::swap::Configuration as _;
use agent_host_wasm::{Engine, EngineOptions};
use anyhow::{Context as _, ensure};
use serde_json::{Value, json};
use tokio::process::Command;

use crate::args::TestArguments;
use crate::components::{Configured, Grantor, registry};
use crate::config::grant::Component;
use crate::config::schema;
use crate::data_dir::registry_cache;
use crate::output;

/// How long each function is measured.
const BENCH: Duration = Duration::from_secs(1);

/// Prints the promises that are tried.
///
/// # Errors
/// If they cannot be printed.
pub fn checks(wants_json: bool) -> anyhow::Result<()> {
    if wants_json {
        let checks: Vec<_> = agent_host_kit::list().map(|check| json!({"name": check.name, "promise": check.promise})).collect();
        output::print_line(serde_json::to_string_pretty(&checks)?)?;
        return Ok(());
    }
    for check in agent_host_kit::list() {
        output::print_line(format_args!("{}\n    {}", check.name, check.promise))?;
    }
    Ok(())
}

/// Tries an adapter under the limits that are configured, and nothing else that is: a store that is in use must be named.
///
/// # Errors
/// If it cannot be opened, or breaks a promise.
pub async fn test(config: schema::Config, arguments: &TestArguments) -> anyhow::Result<()> {
    if let (Some(session), Some(scratch)) = (&arguments.victim, &arguments.scratch) {
        let subject = subject(config, arguments, scratch).await?;
        return agent_host_kit::victim::write(&subject, &SessionId::new(session)?, output::print_line).await;
    }
    let scratch = tempfile::tempdir().context("failed to make a directory for the database of the built-in sqlite")?;
    let subject = with_victim(subject(config, arguments, scratch.path()).await?, scratch.path())?;
    if arguments.bench {
        return measure(&subject, arguments.json).await;
    }
    let options = Options {
        only: arguments.only.clone(),
        timeout: Duration::from_secs(arguments.timeout),
        sequences: arguments.sequences,
        seed: arguments.seed,
        durable: arguments.durable.then_some(true),
    };
    let mut unread = None;
    let report = agent_host_kit::run(&subject, &options, |tried| {
        if !arguments.json && unread.is_none() {
            unread = output::print_line(tried).err();
        }
    })
    .await?;
    if let Some(error) = unread {
        return Err(error.into());
    }
    if let Some(path) = &arguments.junit {
        std::fs::write(path, report.to_junit()?).with_context(|| format!("failed to write {}", path.display()))?;
    }
    if arguments.json {
        output::print_line(report.to_json()?)?
    } else {
        output::print_line(format_args!("\n{report}"))?
    }
    verdict(&report)
}

/// What is killed is this program, told the same and what to write.
fn with_victim(subject: Subject, scratch: &Path) -> anyhow::Result<Subject> {
    let (program, scratch) = (std::env::current_exe().context("failed to find this program")?, scratch.to_owned());
    let arguments: Vec<_> = std::env::args_os().skip(1).collect();
    Ok(subject.with_victim(move |session| {
        let mut command = Command::new(&program);
        command.args(&arguments).arg("--victim").arg(session.as_str()).arg("--scratch").arg(&scratch);
        command
    }))
}

fn verdict(report: &Report) -> anyhow::Result<()> {
    ensure!(!report.tried.is_empty(), "no check has such a name; `agent-host adapter checks` lists them");
    let is_skipped = |tried: &Tried| matches!(tried.outcome, Outcome::Skipped(_));
    ensure!(!report.tried.iter().all(is_skipped), "nothing was tried: each check was skipped, and the report says why");
    ensure!(report.is_conformant(), "{} {} does not keep the contract", report.name, report.version);
    Ok(())
}

async fn measure(subject: &Subject, wants_json: bool) -> anyhow::Result<()> {
    let mut unread = None;
    let figures = bench::run(subject, BENCH, |figure| {
        if !wants_json && unread.is_none() {
            unread = output::print_line(figure).err();
        }
    })
    .await?;
    if let Some(error) = unread {
        return Err(error.into());
    }
    if wants_json {
        output::print_line(serde_json::to_string_pretty(&figures)?)?;
    }
    Ok(())
}

/// The database of the built-in `sqlite`, and what is pulled from a registry, is in the directory `scratch`.
async fn subject(config: schema::Config, arguments: &TestArguments, scratch: &Path) -> anyhow::Result<Subject> {
    let TestArguments { component, set, grants, .. } = arguments;
    let registry = registry::registry(&config.components.registry, registry_cache(scratch))?;
    let (source, origin) = registry::named(&registry, component).await?;
    let grants =
        grants.as_deref().map_or(Ok(json!({})), |grants| serde_json::from_str::<Value>(grants).context("--grants is not valid JSON"))?;
    let plan = Plan { origin, config: Some(set.iter().cloned().collect()), grants: Some(grants) };
    // What is configured is not tried: it is not asked for, in a registry or elsewhere.
    let persistence = schema::Persistence { component: Component::Sqlite, ..config.persistence };
    let configured = Configured::new(persistence, Arc::new(registry), scratch.join("adapter-test.db"), Grantor::new()?, false).await?;
    let options = configured.options(&plan).await.map_err(anyhow::Error::msg)?;
    // Kept for the processes that are started to be killed.
    let engine = Engine::new(EngineOptions { cache_dir: Some(scratch.join("code")), ..EngineOptions::default() })?;
    Ok(Subject::load(engine, source, options).await?)
}
