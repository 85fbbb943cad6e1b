//! The command line. Serving is what the program does when no command is named.

mod settings;

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, CommandFactory as _, FromArgMatches as _, Parser, Subcommand, ValueEnum};

pub use self::settings::SettingFlags;
use crate::project::Language;

/// Runs coding agents in sandboxes for your applications, and stores everything through a WebAssembly component.
///
/// Without a command it serves until it is told to stop by Ctrl-C or SIGTERM. Every setting below can also be given in the configuration
/// file and as an environment variable; --help tells more about each than -h.
#[derive(Debug, Parser)]
#[command(name = "agent-host", version, disable_help_subcommand = true)]
pub struct Arguments {
    /// The configuration file; without it, agent-host.toml in the working directory, if there is one.
    ///
    /// Environment variable: AGENT_HOST_CONFIG
    #[arg(long, global = true, value_name = "PATH")]
    pub config: Option<PathBuf>,

    /// Settings.
    #[command(flatten)]
    pub settings: SettingFlags,

    /// What to do instead of serving.
    #[command(subcommand)]
    pub command: Option<Command>,
}

impl Arguments {
    /// Reads the command line. Where it cannot be read, or help is asked for, the process ends with what is to be said.
    pub fn read() -> Self {
        Self::read_from(std::env::args_os()).unwrap_or_else(|error| error.exit())
    }

    fn read_from<T: Into<OsString> + Clone>(arguments: impl IntoIterator<Item = T>) -> Result<Self, clap::Error> {
        Self::from_arg_matches(&settings::shown_once(Self::command()).try_get_matches_from(arguments)?)
    }
}

/// What the program can do besides serving.
#[derive(Clone, Debug, PartialEq, Eq, Subcommand)]
pub enum Command {
    /// Checks the configuration without starting: prints what is in force and where it was given, or what is wrong.
    CheckConfig,
    /// Makes a session out of a transcript of Claude Code, and prints its id. The host must not be running.
    Import {
        /// The transcript: ~/.claude/projects/PROJECT/SESSION.jsonl. Those of its subagents are found beside it.
        transcript: PathBuf,
        /// The session's id; the host chooses one if it is not given.
        #[arg(long)]
        session_id: Option<String>,
        /// The session's agent profile.
        #[arg(long, default_value = "default")]
        profile: String,
        /// A name for the session.
        #[arg(long)]
        name: Option<String>,
    },
    /// Follows a session of a running host: prints every frame of its WebSocket, a JSON line each.
    Watch {
        /// The session's id.
        session: String,
        /// Where the host is, if not where the configuration says that it listens.
        #[arg(long)]
        url: Option<String>,
        /// The environment variable that holds the API key, if the host wants one.
        #[arg(long, value_name = "NAME")]
        key_variable: Option<String>,
    },
    /// Shows the components of a running host: which generation serves, which came before, what is being prepared.
    #[command(args_conflicts_with_subcommands = true)]
    Components {
        /// As JSON, with everything that is known.
        #[arg(long)]
        json: bool,
        /// The host.
        #[command(flatten)]
        host: HostArguments,
        /// What else to do with components.
        #[command(subcommand)]
        command: Option<ComponentsCommand>,
    },
    /// Lets another component take over in a running host, without losing a call.
    Swap {
        /// What kind of component.
        #[arg(value_enum)]
        kind: Kind,
        /// The component: a file, the name of one that ships with the host, or one in a registry, `oci://HOST/REPOSITORY@sha256:DIGEST`.
        #[arg(required_unless_present = "configured")]
        component: Option<String>,
        /// Goes back to what the configuration names.
        #[arg(long, conflicts_with_all = ["component", "set", "grants"])]
        configured: bool,
        /// What the component is told when it is opened: all of it, if any is given; if none is, what the present one was told.
        #[arg(long, value_name = "NAME=VALUE", value_parser = pair)]
        set: Vec<(String, String)>,
        /// What it may use, in JSON: {"databases": {"main": "sqlite:/PATH"}}; what the present one may use if not given, its database included. A relative path is relative to the
        /// working directory.
        #[arg(long, value_name = "JSON")]
        grants: Option<String>,
        /// Copies everything to the component's store first.
        #[arg(long)]
        migrate: bool,
        /// The host.
        #[command(flatten)]
        host: HostArguments,
    },
    /// Lets the component before the present one take over again.
    Rollback {
        /// What kind of component.
        #[arg(value_enum)]
        kind: Kind,
        /// Copies everything back to its store first.
        #[arg(long)]
        migrate: bool,
        /// The host.
        #[command(flatten)]
        host: HostArguments,
    },
    /// Writes event hooks; adds, removes, enables and disables them in a running host. `components` shows them.
    Hook {
        /// What to do.
        #[command(subcommand)]
        command: HookCommand,
    },
    /// Shows the sandboxes that there are of this host, whether it runs or not: how old they are, and for which session.
    #[command(args_conflicts_with_subcommands = true)]
    Sandboxes {
        /// Those of all hosts that share the app at Modal.
        #[arg(long)]
        all: bool,
        /// As JSON.
        #[arg(long)]
        json: bool,
        /// What else to do with sandboxes.
        #[command(subcommand)]
        command: Option<SandboxesCommand>,
    },
    /// Looks at a component that does not run.
    Component {
        /// What to do with it.
        #[command(subcommand)]
        command: ComponentCommand,
    },
    /// For those who write persistence adapters: begins one, tries one, and prints the contract that it must keep.
    Adapter {
        /// What to do.
        #[command(subcommand)]
        command: AdapterCommand,
    },
    /// Writes the contract with components as packages of WIT, as they are in `wit/deps` of a project.
    Wit {
        /// The directory.
        directory: PathBuf,
    },
    /// Copies everything from one store to another, and verifies it by digest, while no host uses either. Goes on where it was broken off.
    Copy {
        /// The store to copy from: sqlite:PATH, postgres://USER@HOST/DATABASE (or env:NAME, where the URL has a password), or a configuration file, whose persistence section it is then.
        #[arg(long, value_name = "STORE")]
        from: String,
        /// The store to copy to, which must be empty, or what an earlier copy left.
        #[arg(long, value_name = "STORE")]
        to: String,
    },
    /// Prints the configuration reference.
    #[command(hide = true)]
    ConfigReference {
        /// As what.
        #[arg(value_enum, default_value_t)]
        format: ReferenceFormat,
    },
}

/// What can be done with components besides looking at them.
#[derive(Clone, Debug, PartialEq, Eq, Subcommand)]
pub enum ComponentsCommand {
    /// Writes a component that ships with the host to a file.
    Export {
        /// Its name: sqlite, postgresql or memory.
        name: String,
        /// The file.
        file: PathBuf,
    },
}

/// What can be done with sandboxes besides looking at them.
#[derive(Clone, Debug, PartialEq, Eq, Subcommand)]
pub enum SandboxesCommand {
    /// Ends those that the host does not use, which is all of them if it does not run, and prints their ids.
    Prune {
        /// Another host whose data directory is lost, by the id that `sandboxes --all` shows. All its sandboxes at Modal end, even if it runs.
        #[arg(long, value_name = "ID")]
        host: Option<String>,
    },
}

/// What can be done with event hooks.
#[derive(Clone, Debug, PartialEq, Eq, Subcommand)]
pub enum HookCommand {
    /// Writes a project into a directory of its own: a hook that builds and works at once, to be changed from there.
    New(NewArguments),
    /// Adds a hook, or gives the one of this name another component: its events go on where it was. It is enabled then.
    Add {
        /// The hook's name in the host.
        name: String,
        /// The component: a file, or one in a registry, `oci://HOST/REPOSITORY@sha256:DIGEST`.
        #[arg(required_unless_present = "configured")]
        component: Option<PathBuf>,
        /// Goes back to what the configuration names.
        #[arg(long, conflicts_with_all = ["component", "set", "grants"])]
        configured: bool,
        /// What the component is told when it is opened: all of it, if any is given; if none is, what the present one was told.
        #[arg(long, value_name = "NAME=VALUE", value_parser = pair)]
        set: Vec<(String, String)>,
        /// All that it may use, in JSON: {"dirs": [{"host": "/PATH", "guest": "/audit", "write": true}]}; what the present one may use if not given. A relative path is relative to the working
        /// directory.
        #[arg(long, value_name = "JSON")]
        grants: Option<String>,
        /// With which event a hook begins that was not there before.
        #[arg(long, value_enum)]
        from: Option<Begin>,
        /// The host.
        #[command(flatten)]
        host: HostArguments,
    },
    /// Removes a hook, and the events that wait for it.
    Remove {
        /// Its name.
        name: String,
        /// The host.
        #[command(flatten)]
        host: HostArguments,
    },
    /// Lets a disabled hook work again: it is told of what happened meanwhile.
    Enable {
        /// Its name.
        name: String,
        /// The host.
        #[command(flatten)]
        host: HostArguments,
    },
    /// Asks a hook nothing any more, and has its events wait for it.
    Disable {
        /// Its name.
        name: String,
        /// The host.
        #[command(flatten)]
        host: HostArguments,
    },
}

/// With which event a hook begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Begin {
    /// With the oldest that is kept.
    Start,
    /// With the next.
    End,
}

/// What can be done with a component that does not run.
#[derive(Clone, Debug, PartialEq, Eq, Subcommand)]
pub enum ComponentCommand {
    /// Says what it is, what it imports and exports, what it may want granted, and whether this host can run it.
    Inspect {
        /// The component.
        file: PathBuf,
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
}

/// A project that is to be written.
#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub struct NewArguments {
    /// Its name, such as my-adapter or my-hook, which is also its directory's.
    pub name: String,
    /// The language.
    #[arg(long, value_enum)]
    pub lang: Language,
}

/// What can be done for those who write persistence adapters.
#[derive(Clone, Debug, PartialEq, Eq, Subcommand)]
pub enum AdapterCommand {
    /// Writes a project into a directory of its own: an adapter that builds and keeps the contract at once, to be changed from there.
    New(NewArguments),
    /// Prints the contract as one page of Markdown.
    Doc,
    /// Tries every promise of the contract against an adapter and its store, in sessions that are deleted again. Fails if one is broken.
    Test(TestArguments),
    /// Makes one component of an adapter that is in front of another one and of that other one, as examples/adapter-encrypting is.
    Compose {
        /// The adapter in front, which imports the contract that it exports: a file, or one in a registry, `oci://HOST/REPOSITORY@sha256:DIGEST`.
        outer: String,
        /// The adapter behind it: a file, one in a registry, or the name of one that ships with the host.
        inner: String,
        /// The file that is written.
        #[arg(long, short, value_name = "FILE")]
        output: PathBuf,
    },
    /// Lists the promises that are tried, each with what the contract says.
    Checks {
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
}

/// An adapter that is tried, and how.
#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub struct TestArguments {
    /// The component: a file, the name of one that ships with the host, or one in a registry, `oci://HOST/REPOSITORY@sha256:DIGEST`.
    pub component: String,
    /// What it is told when it is opened.
    #[arg(long, value_name = "NAME=VALUE", value_parser = pair)]
    pub set: Vec<(String, String)>,
    /// What it may use, in JSON: {"databases": {"main": "sqlite:/PATH"}}. A relative path is relative to the working directory. The built-in sqlite has a database of its own unless it
    /// is granted another one.
    #[arg(long, value_name = "JSON")]
    pub grants: Option<String>,
    /// Tries only what has this in its name, such as streams or append; may be given several times.
    #[arg(long, value_name = "NAME")]
    pub only: Vec<String>,
    /// How long one check may take.
    #[arg(long, value_name = "SECONDS", default_value_t = 120, value_parser = clap::value_parser!(u64).range(1..))]
    pub timeout: u64,
    /// Random sequences of calls that are compared with the contract.
    #[arg(long, value_name = "NUMBER", default_value_t = 64)]
    pub sequences: u32,
    /// Draws the random sequences of an earlier run again, whose report names it.
    #[arg(long, value_name = "NUMBER")]
    pub seed: Option<u64>,
    /// What is written must be there when the adapter is opened again, although it has one instance only.
    #[arg(long)]
    pub durable: bool,
    /// Writes the report into this file for continuous integration, as JUnit's XML.
    #[arg(long, value_name = "PATH")]
    pub junit: Option<PathBuf>,
    /// Prints the report as JSON.
    #[arg(long)]
    pub json: bool,
    /// Writes into this session until it is killed: what the check of that starts.
    #[arg(long, hide = true, requires = "scratch")]
    pub victim: Option<String>,
    /// The directory of the process that kills it.
    #[arg(long, hide = true)]
    pub scratch: Option<PathBuf>,
    /// Measures calls and bytes in a second by function, instead of trying anything.
    #[arg(long, conflicts_with_all = ["only", "junit", "sequences", "seed", "durable", "timeout"])]
    pub bench: bool,
}

/// Which running host is meant, and with which key.
#[derive(Clone, Debug, Default, PartialEq, Eq, Args)]
pub struct HostArguments {
    /// Where the host is, if not where the configuration says that it listens.
    #[arg(long)]
    pub url: Option<String>,
    /// The environment variable that holds an admin key, if it is not the configured one or that in the data directory.
    #[arg(long, value_name = "NAME")]
    pub key_variable: Option<String>,
}

/// What components are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Kind {
    /// The persistence adapter.
    Persistence,
}

fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("expected NAME=VALUE".to_owned()),
    }
}

/// What the configuration reference looks like.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum ReferenceFormat {
    /// The section of the README.
    #[default]
    Markdown,
    /// An example agent-host.toml.
    Toml,
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::config::setting::sections;

    fn command_line() -> clap::Command {
        settings::shown_once(Arguments::command())
    }

    fn parse(arguments: &[&str]) -> Arguments {
        Arguments::read_from([&["agent-host"], arguments].concat()).unwrap()
    }

    #[test]
    fn the_command_line_is_consistent() {
        command_line().debug_assert();
    }

    #[test]
    fn serving_needs_no_command() {
        assert_eq!(parse(&[]).command, None);
    }

    #[test]
    fn flags_can_stand_before_and_after_a_command() {
        for arguments in [
            &["--session.idle-timeout", "1m", "--config", "x.toml", "check-config"][..],
            &["check-config", "--session.idle-timeout=1m", "--config=x.toml"],
        ] {
            let arguments = parse(arguments);
            assert_eq!(arguments.command, Some(Command::CheckConfig));
            assert_eq!(arguments.settings.0, BTreeMap::from([("session.idle_timeout".to_owned(), "1m".to_owned())]));
            assert_eq!(arguments.config, Some(PathBuf::from("x.toml")));
        }
    }

    #[test]
    fn settings_are_shown_once_and_taken_everywhere() {
        let help = |command: &str| Arguments::read_from(["agent-host", "adapter", command, "--help"]).unwrap_err().to_string();
        let said = help("test");
        assert!(said.contains("--sequences") && said.contains("--config") && said.contains("which `agent-host --help` lists"), "{said}");
        assert!(!said.contains("--session.idle-timeout"), "{said}");
        let nested = ["adapter", "test", "a.wasm", "--persistence.limits.memory=64 MiB"];
        assert_eq!(parse(&nested).settings.0, BTreeMap::from([("persistence.limits.memory".to_owned(), "64 MiB".to_owned())]));
    }

    #[test]
    fn an_unknown_flag_or_command_is_refused() {
        for argument in ["--session.idle-timout=1m", "serv"] {
            let error = Arguments::read_from(["agent-host", argument]).unwrap_err();
            assert!(error.to_string().contains(argument.trim_end_matches("=1m")), "{error}");
        }
    }

    #[test]
    fn help_names_every_setting() {
        let help = command_line().render_long_help().to_string();
        for setting in sections().into_iter().flat_map(|section| section.settings) {
            assert!(help.contains(&setting.flag()), "{} is missing", setting.flag());
            assert!(help.contains(&setting.variable()), "{} is missing", setting.variable());
        }
    }
}
