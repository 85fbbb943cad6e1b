//! The interfaces that a component may import and export, by their names.

use std::fmt;

use serde::{Serialize, Serializer};

/// An interface, or a single function: `agent-host:sql/sql@0.1.0`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Interface {
    /// `agent-host:sql/sql`.
    pub name: String,
    /// `0.1.0`; `None` if it has none.
    pub version: Option<String>,
}

impl Interface {
    /// `agent-host:sql`.
    fn package(&self) -> &str {
        self.name.split('/').next().unwrap_or_default()
    }
}

impl From<&str> for Interface {
    fn from(text: &str) -> Self {
        match text.split_once('@') {
            Some((name, version)) => Self { name: name.to_owned(), version: Some(version.to_owned()) },
            None => Self { name: text.to_owned(), version: None },
        }
    }
}

impl fmt::Display for Interface {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.name)?;
        self.version.iter().try_for_each(|version| write!(formatter, "@{version}"))
    }
}

impl Serialize for Interface {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Versions of a package that this host has.
pub(super) struct Supported {
    package: &'static str,
    /// What such a version begins with. A later patch of a package only adds functions, which one who was made for an earlier one does not look for.
    begins: &'static str,
    pub(super) text: &'static str,
}

impl Supported {
    pub(super) fn fits(&self, interface: &Interface) -> bool {
        interface.version.as_deref().is_some_and(|version| version.starts_with(self.begins))
    }
}

const fn contract(package: &'static str) -> Supported {
    Supported { package, begins: "0.1.", text: "0.1" }
}

const fn wasi(package: &'static str) -> Supported {
    Supported { package, begins: "0.2.", text: "0.2" }
}

/// What this host gives.
static GIVEN: [Supported; 11] = [
    contract("agent-host:types"),
    contract("agent-host:sql"),
    contract("agent-host:http"),
    contract("agent-host:hooks"),
    Supported { package: "wasi:logging", begins: "0.1.0-draft", text: "0.1.0-draft" },
    wasi("wasi:cli"),
    wasi("wasi:clocks"),
    wasi("wasi:filesystem"),
    wasi("wasi:io"),
    wasi("wasi:random"),
    wasi("wasi:sockets"),
];

/// What this host looks for.
static TAKEN: [Supported; 2] = [contract("agent-host:persistence"), contract("agent-host:hooks")];

/// The versions that this host gives of an interface; `None` if it does not know it.
pub(super) fn given(import: &Interface) -> Option<&'static Supported> {
    GIVEN.iter().find(|given| given.package == import.package())
}

/// What a component can be to this host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum World {
    /// It stores sessions.
    Persistence,
    /// It is told of events, and decides.
    Hook,
}

impl World {
    pub(super) const ALL: [Self; 2] = [Self::Persistence, Self::Hook];

    /// Whether a component that exports this means to be one.
    pub(super) fn is_told_by(self, export: &Interface) -> bool {
        match self {
            Self::Persistence => export.package() == "agent-host:persistence",
            Self::Hook => export.name == "agent-host:hooks/event-hook",
        }
    }

    /// What it has to export.
    pub(super) fn exports(self) -> impl Iterator<Item = Interface> {
        let (package, interfaces): (_, &[&str]) = match self {
            Self::Persistence => ("agent-host:persistence", &["lifecycle", "sessions", "streams", "files", "profiles"]),
            Self::Hook => ("agent-host:hooks", &["event-hook"]),
        };
        interfaces.iter().map(move |interface| Interface { name: format!("{package}/{interface}"), version: Some("0.1.0".to_owned()) })
    }

    /// The versions that this host can call; `None` if it does not look for it.
    pub(super) fn supported(export: &Interface) -> Option<&'static Supported> {
        TAKEN.iter().find(|taken| taken.package == export.package())
    }
}

impl fmt::Display for World {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Persistence => "a persistence adapter",
            Self::Hook => "an event hook",
        })
    }
}

/// A grant, by its key in the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Need {
    /// `grants.databases`
    Databases,
    /// `grants.dirs`
    Dirs,
    /// `grants.env`
    Env,
    /// `grants.http`
    Http,
    /// `grants.net`
    Net,
}

impl Need {
    /// The grant without which this import is of no use.
    pub(super) fn of(import: &Interface) -> Option<Self> {
        match import.package() {
            "agent-host:sql" => Some(Self::Databases),
            "agent-host:http" => Some(Self::Http),
            "wasi:filesystem" => Some(Self::Dirs),
            "wasi:sockets" => Some(Self::Net),
            "wasi:cli" if import.name == "wasi:cli/environment" => Some(Self::Env),
            _ => None,
        }
    }

    /// What is granted.
    pub(super) fn meaning(self) -> &'static str {
        match self {
            Self::Databases => "databases of the host",
            Self::Dirs => "directories of the host",
            Self::Env => "environment variables",
            Self::Http => "HTTP requests",
            Self::Net => "TCP connections, and the names for them",
        }
    }
}

impl fmt::Display for Need {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Databases => "grants.databases",
            Self::Dirs => "grants.dirs",
            Self::Env => "grants.env",
            Self::Http => "grants.http",
            Self::Net => "grants.net",
        })
    }
}
