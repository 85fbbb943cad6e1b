//! The configuration: from a file, environment variables and flags to plain typed values.
//!
//! One table says everything about a setting: its key, type, default, meaning and the reason for the default. It is written
//! once, in [`schema`], as the structs that the rest of the program sees; the flags, the variables, `--help`, the reference in
//! the README and the example file are made from it. A value keeps the place where it was given until it has been read, so
//! that an error can name it.
//!
//! | module | what it holds |
//! | --- | --- |
//! | [`schema`] | the settings themselves |
//! | [`setting`] | what a setting is, and the macro that makes structs and table from one text |
//! | [`choice`], [`grant`], [`registry`], [`secret`], [`telemetry`] | the types of settings that are more than a text or a number |
//! | `read` | texts, numbers, durations, sizes, paths, lists and tables out of nodes |
//! | `node` | TOML values with their places |
//! | `layers` | defaults, file, variables and flags, one upon the other |
//! | [`environment`] | the environment variables, as a trait |
//! | [`reference`](mod@reference) | the settings as Markdown, as an example file, and as they are in force |
//! | [`profiles`] | the directory of agent profiles |

pub mod choice;
pub mod database;
pub mod environment;
mod error;
pub mod grant;
pub mod hook;
mod json;
mod layers;
mod node;
pub mod profiles;
mod read;
pub mod reference;
pub mod registry;
pub mod schema;
pub mod secret;
pub mod setting;
pub mod telemetry;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use choice::Provider;
use environment::Environment;
pub use error::Error;
use layers::Layers;
use read::{Context, Reader};
pub use schema::Config;
use secret::ApiKey;
use setting::Section;

/// The file that is read from the working directory if no other is named and it exists.
pub const DEFAULT_FILE: &str = "agent-host.toml";

/// Instances of components that the host has room for, less some for what comes beside the adapter.
const MAX_POOL: usize = 100;

/// What every environment variable of the host begins with.
pub const VARIABLE_PREFIX: &str = "AGENT_HOST_";

/// Names the configuration file, as `--config` does.
pub const FILE_VARIABLE: &str = "AGENT_HOST_CONFIG";

/// Where the configuration comes from.
pub struct Sources<'a> {
    /// The file named by `--config`.
    pub file: Option<&'a Path>,
    /// Values given as flags: a setting's whole key and the text.
    pub flags: &'a BTreeMap<String, String>,
    /// The environment variables.
    pub environment: &'a dyn Environment,
    /// What relative paths that do not come from a file are relative to.
    pub working_dir: &'a Path,
}

/// The configuration, and what else is known from reading it.
#[derive(Debug)]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// The file that was read.
    pub file: Option<PathBuf>,
    /// All settings in force as TOML, each with the place where it was given, without secrets.
    pub effective: String,
    /// Environment variables that look as if they were meant for the host, but name no setting: worth a warning.
    pub unknown_variables: Vec<String>,
}

/// Reads the configuration: a flag wins over a variable, a variable over the file, the file over the default.
///
/// # Errors
/// [`Error`] names the key, the value and the place of the first thing that is wrong.
pub fn load(sources: &Sources<'_>) -> Result<Loaded, Error> {
    let (file, layers, unknown_variables) = lay(sources)?;

    let context = Context { environment: sources.environment, working_dir: sources.working_dir };
    let config = Config::read(&Reader { nodes: layers.nodes(), context: &context })?;
    check(&config, &layers)?;
    Ok(Loaded { config, file, effective: reference::effective(layers.nodes()), unknown_variables })
}

/// What a command has to know to reach a running host.
#[derive(Debug)]
pub struct Reach {
    /// Where the host listens.
    pub listen: SocketAddr,
    /// Where it keeps what is its own, an admin key among it.
    pub data_dir: PathBuf,
    /// Its admin keys, as far as the command may know them.
    pub admin_keys: Vec<ApiKey>,
    /// Who makes its sandboxes.
    pub provider: Provider,
    /// Its app at Modal.
    pub modal_app: String,
}

/// Reads only what is needed to reach a running host: its secrets and files are the host's, and may not be there for whoever runs a command.
///
/// # Errors
/// [`Error`] names what is wrong with the file, or with one of these values.
pub fn load_reach(sources: &Sources<'_>) -> Result<Reach, Error> {
    let (_, layers, _) = lay(sources)?;
    let context = Context { environment: sources.environment, working_dir: sources.working_dir };
    let reader = Reader { nodes: layers.nodes(), context: &context };
    Ok(Reach {
        listen: reader.setting("", "listen")?,
        data_dir: reader.setting("", "data_dir")?,
        provider: reader.setting("sandbox", "provider")?,
        modal_app: reader.setting("sandbox.modal", "app")?,
        // Another one can be named, or is found in the data directory.
        admin_keys: reader.setting("auth", "admin_keys").unwrap_or_default(),
    })
}

/// Defaults, file, variables and flags, one upon the other, with the file that was read and the variables that name no setting.
fn lay(sources: &Sources<'_>) -> Result<(Option<PathBuf>, Layers, Vec<String>), Error> {
    let file = find_file(sources)?;
    let mut layers = Layers::defaults();
    if let Some(file) = &file {
        layers.add_file(file, sources.working_dir)?;
    }
    let unknown_variables = layers.add_variables(sources.environment)?;
    layers.add_flags(sources.flags);
    layers.derive_defaults(sources.environment);
    Ok((file, layers, unknown_variables))
}

/// Reads what a component may use out of JSON, as it would be written under `key` in the configuration. Relative paths are relative to the working directory.
///
/// # Errors
/// [`Error`] names the key and the value that is wrong.
pub fn read_grants(key: &str, grants: &serde_json::Value, sources: &Sources<'_>) -> Result<schema::Grants, Error> {
    let context = Context { environment: sources.environment, working_dir: sources.working_dir };
    schema::Grants::read_from(&json::node(key.to_owned(), grants), &context)
}

fn find_file(sources: &Sources<'_>) -> Result<Option<PathBuf>, Error> {
    if let Some(file) = sources.file {
        return Ok(Some(file.to_owned()));
    }
    if let Some(file) = environment::text(sources.environment, FILE_VARIABLE)? {
        return Ok(Some(file.into()));
    }
    let file = Path::new(DEFAULT_FILE);
    // Anything but certain absence is left to reading, whose error says more: a file that may not be read must not be passed over.
    let absent = matches!(sources.working_dir.join(file).try_exists(), Ok(false));
    Ok((!absent).then(|| file.to_owned()))
}

/// What no setting shows by itself.
fn check(config: &Config, layers: &Layers) -> Result<(), Error> {
    if config.auth.api_keys.is_empty() && !config.listen.ip().to_canonical().is_loopback() {
        let reason = "without keys the host listens on loopback only, since anybody who reaches it could run programs with it; \
                      set auth.api_keys, or listen on 127.0.0.1 or [::1]";
        return Err(layers.refuse("listen", reason));
    }
    if config.limits.message > config.limits.body {
        // The one to blame is the one that was given.
        let key = if layers.is_default("limits.message") { "limits.body" } else { "limits.message" };
        return Err(layers.refuse(key, "a body holds a message, so limits.message can be at most limits.body"));
    }
    if config.persistence.limits.instances > MAX_POOL {
        return Err(layers.refuse("persistence.limits.instances", &format!("at most {MAX_POOL} instances are possible")));
    }
    for (index, hook) in config.hooks.iter().enumerate() {
        if hook.limits.instances > MAX_POOL {
            return Err(layers.refuse("hooks", &format!("{}: limits.instances: at most {MAX_POOL} are possible", hook.name)));
        }
        if config.hooks.iter().take(index).any(|other| other.name == hook.name) {
            return Err(layers.refuse("hooks", &format!("there are two hooks named {}", hook.name)));
        }
    }
    Ok(())
}
