//! The binary `agent-host`: parse, configure, build, run, drain.
#![forbid(unsafe_code)]

pub mod adapter;
pub mod agenda;
pub mod app;
pub mod args;
pub mod components;
pub mod compose;
pub mod config;
pub mod copy;
pub mod data_dir;
pub mod import;
pub mod logging;
pub mod metrics;
pub mod operate;
pub mod output;
pub mod project;
pub mod sandboxes;
pub mod telemetry;
pub mod watch;
pub mod wit;

use std::process::ExitCode;

use agent_host_session::id::{ProfileId, SessionId};
use agent_host_session::manager::Create;
use agent_host_session::record::Options;
use anyhow::Context as _;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::runtime::{Builder, Runtime};

use crate::args::{
    AdapterCommand, Arguments, Command, ComponentCommand, ComponentsCommand, HookCommand, HostArguments, Kind, NewArguments,
    ReferenceFormat, SandboxesCommand,
};
use crate::config::environment::Process;
use crate::config::{Loaded, Reach, Sources, reference};
use crate::operate::Given;
use crate::sandboxes::Sandboxes;
use crate::telemetry::Telemetry;

fn main() -> ExitCode {
    match run(Arguments::read()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if output::is_unread(&error) => ExitCode::SUCCESS,
        Err(error) => {
            // The log may not be set up yet, and whoever started the host looks here.
            eprintln!("agent-host: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: Arguments) -> anyhow::Result<()> {
    // Clients for HTTP ask the process whose cryptography they are to use. Nobody has told it before.
    let _ = rustls::crypto::ring::default_provider().install_default();
    match arguments.command {
        Some(Command::ConfigReference { format: ReferenceFormat::Markdown }) => output::print(reference::markdown())?,
        Some(Command::ConfigReference { format: ReferenceFormat::Toml }) => output::print(reference::example())?,
        Some(Command::CheckConfig) => {
            let loaded = load(&arguments)?;
            output::print(&loaded.effective)?;
            if let Some(dir) = &loaded.config.profiles.dir {
                config::profiles::load_dir(dir)?;
            }
            for variable in &loaded.unknown_variables {
                eprintln!("warning: the environment variable {variable} looks like a setting, but names none");
            }
            output::print_line("configuration is valid")?;
        }
        Some(Command::Watch { ref session, ref url, ref key_variable }) => {
            let url = match url {
                Some(url) => url.clone(),
                None => format!("http://{}", reach(&arguments)?.listen),
            };
            let key = key_variable.as_deref().map(key_from).transpose()?;
            runtime()?.block_on(watch::watch(&url, session, key.as_deref()))?;
        }
        Some(Command::Components { command: Some(ComponentsCommand::Export { ref name, ref file }), .. }) => {
            components::export(name, file)?
        }
        Some(Command::Components { ref host, json, command: None }) => {
            let components = runtime()?.block_on(running(&arguments, host)?.components())?;
            if json { output::print_line(format_args!("{components:#}"))? } else { output::print(operate::describe(&components))? }
        }
        Some(Command::Swap { kind: Kind::Persistence, ref component, configured: _, ref set, ref grants, migrate, ref host }) => {
            let given = Given { config: set, grants: grants.as_deref() };
            let host = running(&arguments, host)?;
            output::print_line(format_args!("{:#}", runtime()?.block_on(host.swap_persistence(component.as_deref(), &given, migrate))?))?;
        }
        Some(Command::Rollback { kind: Kind::Persistence, migrate, ref host }) => {
            output::print_line(format_args!("{:#}", runtime()?.block_on(running(&arguments, host)?.roll_back_persistence(migrate))?))?;
        }
        Some(Command::Hook { ref command }) => hook(&arguments, command)?,
        Some(Command::Sandboxes { all, json, ref command }) => {
            let sandboxes = Sandboxes::new(reach(&arguments)?)?;
            match command {
                Some(SandboxesCommand::Prune { host }) => runtime()?.block_on(sandboxes.prune(host.as_deref()))?,
                None => runtime()?.block_on(sandboxes.list(all, json))?,
            }
        }
        Some(Command::Component { command: ComponentCommand::Inspect { ref file, json } }) => {
            runtime()?.block_on(components::inspect(file, json))?;
        }
        Some(Command::Wit { ref directory }) => wit::write(directory)?,
        Some(Command::Adapter { command: AdapterCommand::New(ref new) }) => begin(project::Kind::Adapter, new)?,
        Some(Command::Adapter { command: AdapterCommand::Doc }) => output::print(wit::adapter_page())?,
        Some(Command::Adapter { command: AdapterCommand::Checks { json } }) => adapter::checks(json)?,
        Some(Command::Adapter { command: AdapterCommand::Compose { ref outer, ref inner, ref output } }) => {
            let config = load(&arguments)?.config;
            for hidden in runtime()?.block_on(compose::write(&config.components.registry, outer, inner, output))?.hidden {
                eprintln!("note: {outer} does not pass on {hidden}, which {inner} has");
            }
        }
        Some(Command::Adapter { command: AdapterCommand::Test(ref test) }) => {
            let config = load(&arguments)?.config;
            // What the component says, and why an instance of it was discarded, is what its author looks for.
            logging::start(config.log_format, logging::OF_COMMAND)?;
            runtime()?.block_on(adapter::test(config, test))?;
        }
        Some(Command::Copy { ref from, ref to }) => {
            let copied = runtime()?.block_on(copy::copy(from, to))?;
            output::print_line(serde_json::to_string_pretty(&copied)?)?;
        }
        Some(Command::Import { ref transcript, ref session_id, ref profile, ref name }) => {
            let config = load(&arguments)?.config;
            logging::start(config.log_format, logging::OF_HOST)?;
            let request = Create {
                id: session_id.clone().map(SessionId::new).transpose()?,
                profile: ProfileId::new(profile.as_str())?,
                architecture: "claude-agent-sdk".to_owned(),
                name: name.clone(),
                options: Options::new(),
            };
            output::print_line(runtime()?.block_on(import::import(&config, transcript, request))?)?;
        }
        None => serve(load(&arguments)?)?,
    }
    Ok(())
}

/// Writes a project, and says what to do next.
fn begin(kind: project::Kind, new: &NewArguments) -> anyhow::Result<()> {
    let working_dir = std::env::current_dir().context("failed to find the working directory")?;
    let project = project::create(kind, &new.name, new.lang, &working_dir)?;
    output::print(format_args!("{} is written. What comes next:\n\n{}", project.directory.display(), project.next))?;
    Ok(())
}

fn hook(arguments: &Arguments, command: &HookCommand) -> anyhow::Result<()> {
    match command {
        HookCommand::New(new) => begin(project::Kind::Hook, new)?,
        HookCommand::Add { name, component, configured: _, set, grants, from, host } => {
            let given = Given { config: set, grants: grants.as_deref() };
            let host = running(arguments, host)?;
            output::print_line(format_args!("{:#}", runtime()?.block_on(host.add_hook(name, component.as_deref(), &given, *from))?))?;
        }
        HookCommand::Remove { name, host } => runtime()?.block_on(running(arguments, host)?.remove_hook(name))?,
        HookCommand::Enable { name, host } => runtime()?.block_on(running(arguments, host)?.enable_hook(name, true))?,
        HookCommand::Disable { name, host } => runtime()?.block_on(running(arguments, host)?.enable_hook(name, false))?,
    }
    Ok(())
}

fn key_from(variable: &str) -> anyhow::Result<String> {
    std::env::var(variable).with_context(|| format!("failed to read the key from {variable}"))
}

/// The running host that an operator means.
fn running(arguments: &Arguments, host: &HostArguments) -> anyhow::Result<operate::Host> {
    let reach = reach(arguments)?;
    let url = host.url.clone().unwrap_or_else(|| format!("http://{}", reach.listen));
    let key = match (&host.key_variable, reach.admin_keys.first()) {
        (Some(variable), _) => key_from(variable)?.into(),
        (None, Some(key)) => key.value().clone(),
        (None, None) => operate::key_in(&reach.data_dir)?,
    };
    operate::Host::new(&url, key)
}

fn load(arguments: &Arguments) -> anyhow::Result<Loaded> {
    with_sources(arguments, config::load)
}

/// How to reach the running host that the configuration is of.
fn reach(arguments: &Arguments) -> anyhow::Result<Reach> {
    with_sources(arguments, config::load_reach)
}

fn with_sources<T>(arguments: &Arguments, read: impl FnOnce(&Sources<'_>) -> Result<T, config::Error>) -> anyhow::Result<T> {
    let working_dir = std::env::current_dir().context("failed to find the working directory")?;
    let sources =
        Sources { file: arguments.config.as_deref(), flags: &arguments.settings.0, environment: &Process, working_dir: &working_dir };
    Ok(read(&sources)?)
}

fn serve(loaded: Loaded) -> anyhow::Result<()> {
    logging::start(loaded.config.log_format, logging::OF_HOST)?;
    let runtime = runtime()?;
    let telemetry = Telemetry::start(&loaded.config.telemetry, runtime.handle())?;
    match &loaded.file {
        Some(file) => tracing::info!(file = %file.display(), "configuration read"),
        None => tracing::info!("no configuration file; the defaults are in force"),
    }
    for variable in &loaded.unknown_variables {
        tracing::warn!(variable, "an environment variable looks like a setting, but names none");
    }
    raise_descriptor_limit();
    let result = runtime.block_on(app::run(loaded.config));
    if let Some(telemetry) = telemetry {
        telemetry.shut_down();
    }
    // Whatever blocking work is left must not keep the process alive.
    runtime.shutdown_background();
    result
}

fn runtime() -> anyhow::Result<Runtime> {
    Builder::new_multi_thread().enable_all().build().context("failed to start the runtime")
}

/// A sandbox takes about five descriptors and a connection one, of which many systems begin with 1,024. How far a process may go is for the administrator to say;
/// this goes as far as that.
fn raise_descriptor_limit() {
    let limit = getrlimit(Resource::Nofile);
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum }) {
        tracing::warn!(%error, current = ?limit.current, "failed to raise the limit of open files");
    }
}
