//! What can be told of a component before it is used: what it imports and exports, what it would need granted, and whether this host can run it.

mod format;
mod interface;

use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use serde::Serialize;

pub(crate) use format::check as check_format;
pub use interface::{Interface, Need, World};

use crate::bindings::hook::Hook;
use crate::cache::Sha256Digest;
use crate::component::Component;
use crate::engine::Engine;
use crate::grants::Grants;
use crate::instance::Factory;
use crate::limits::Limits;
use crate::persistence::Adapter;
use crate::world;

/// How long an instance that is made only to see whether it can be may take: machine code is there already, and nothing is opened.
const TRIAL_TIMEOUT: Duration = Duration::from_secs(10);

/// What a file says of itself, and what this host makes of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Inspection {
    /// Bytes.
    pub size: usize,
    /// The SHA-256 of the bytes, in hexadecimal.
    pub digest: String,
    /// What it is, by what it exports.
    pub worlds: Vec<World>,
    /// What it wants from the host.
    pub imports: Vec<Interface>,
    /// What it gives.
    pub exports: Vec<Interface>,
    /// What it could use if it were granted. Several languages import all of WASI, used or not: so it may use this, and need not.
    pub may_use: BTreeSet<Need>,
    /// Whether this host can run it.
    pub can_run: bool,
    /// Why not.
    pub problems: Vec<Problem>,
}

/// Why this host cannot run a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, thiserror::Error)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Problem {
    /// It is something else.
    #[error("it is not WebAssembly")]
    NotWebAssembly,
    /// It is half of a component.
    #[error("it is a core module, not a component: build it for wasm32-wasip2, or make a component of it with `wasm-tools component new`")]
    CoreModule,
    /// It is WebAssembly of a kind that nobody knows yet.
    #[error("its binary format {version:#x} is unknown to this host")]
    UnknownFormat {
        /// The number after the magic bytes.
        version: u32,
    },
    /// Its end is missing.
    #[error("it is cut short: it has {size} bytes, and the part that begins at byte {begins} would go on to byte {ends}")]
    Truncated {
        /// Bytes that there are.
        size: usize,
        /// Where the last part begins.
        begins: usize,
        /// Where it would end.
        ends: usize,
    },
    /// It is damaged, or uses what this host does not have.
    #[error("it cannot be compiled: {reason}")]
    Invalid {
        /// What wasmtime says.
        reason: String,
    },
    /// It is a component for something else.
    #[error("it is neither a persistence adapter nor an event hook: it exports {exports}")]
    UnknownWorld {
        /// What it exports.
        exports: String,
    },
    /// It lacks what its world has.
    #[error("as {world} it would have to export {interface}")]
    Missing {
        /// Which world.
        world: World,
        /// What is missing.
        interface: Interface,
    },
    /// It was made for another version of an interface.
    #[error("it {direction} {interface}, of which this host has {supported}")]
    Version {
        /// `imports` or `exports`.
        direction: &'static str,
        /// What it was made for.
        interface: Interface,
        /// What there is.
        supported: &'static str,
    },
    /// It wants what this host does not give.
    #[error("it imports {interface}, which this host does not give")]
    UnknownImport {
        /// What it wants.
        interface: Interface,
    },
    /// Names fit, types do not; or it gives up while it is made.
    #[error("no instance of it can be made: {reason}")]
    CannotStart {
        /// Why.
        reason: String,
    },
}

/// Looks at a component, compiles it, and makes an instance of it with nothing granted, which is thrown away.
pub async fn inspect(engine: &Engine, bytes: Vec<u8>) -> Inspection {
    let mut inspection = Inspection {
        size: bytes.len(),
        digest: Sha256Digest::of(&bytes).to_string(),
        worlds: Vec::new(),
        imports: Vec::new(),
        exports: Vec::new(),
        may_use: BTreeSet::new(),
        can_run: false,
        problems: Vec::new(),
    };
    inspection.problems = match compile(engine, bytes).await {
        Ok(component) => {
            inspection.describe(&component);
            let mut problems = inspection.mismatches();
            if problems.is_empty() {
                for world in &inspection.worlds {
                    let trial = match world {
                        World::Persistence => trial::<Adapter>(engine, component.clone()).await,
                        World::Hook => trial::<Hook>(engine, component.clone()).await,
                    };
                    problems.extend(trial.err());
                }
            }
            problems
        }
        Err(problem) => vec![problem],
    };
    inspection.can_run = inspection.problems.is_empty();
    inspection
}

async fn compile(engine: &Engine, bytes: Vec<u8>) -> Result<Component, Problem> {
    format::check(&bytes)?;
    let compiler = engine.clone();
    let compiling = tokio::task::spawn_blocking(move || compiler.compile_blocking("the inspected component", &bytes));
    let compiled = compiling.await.map_err(|error| Problem::Invalid { reason: error.to_string() })?;
    compiled.map_err(|error| Problem::Invalid { reason: error.to_string() })
}

/// Makes an instance, which is where types are compared.
async fn trial<W: world::World>(engine: &Engine, component: Component) -> Result<(), Problem> {
    let cannot = |reason: String| Problem::CannotStart { reason };
    let Some(_room) = engine.reserve(1) else {
        return Err(cannot("all instances that this host may have are promised to others".to_owned()));
    };
    let limits = Limits { open_timeout: TRIAL_TIMEOUT, ..Limits::default() };
    let limits = Limits { memory: limits.memory.min(engine.options().memory_limit), ..limits };
    let factory = Factory::<W>::new(engine.clone(), component, Grants::default(), limits, Vec::new(), None)
        .map_err(|error| cannot(format!("{error:#}")))?;
    let making = engine.spawn(async move {
        let made = tokio::time::timeout(TRIAL_TIMEOUT, factory.instantiate()).await;
        made.map(|made| made.map(drop).map_err(|error| error.to_string()))
            .unwrap_or_else(|_| Err(format!("it took longer than {TRIAL_TIMEOUT:?}")))
    });
    let Some(making) = making else { return Err(cannot("the engine has ended".to_owned())) };
    making.await.map_err(|error| cannot(error.to_string()))?.map_err(cannot)
}

impl Inspection {
    fn describe(&mut self, component: &Component) {
        let (kind, engine) = (component.compiled.component_type(), component.compiled.engine());
        self.imports = kind.imports(engine).map(|(name, _)| Interface::from(name)).collect();
        self.exports = kind.exports(engine).map(|(name, _)| Interface::from(name)).collect();
        self.worlds = World::ALL.into_iter().filter(|world| self.exports.iter().any(|export| world.is_told_by(export))).collect();
        self.may_use = self.imports.iter().filter_map(Need::of).collect();
    }

    /// What its names alone tell.
    fn mismatches(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        if self.worlds.is_empty() {
            let exports: Vec<String> = self.exports.iter().map(Interface::to_string).collect();
            let exports = if exports.is_empty() { "nothing".to_owned() } else { exports.join(", ") };
            problems.push(Problem::UnknownWorld { exports });
        }
        for export in &self.exports {
            // What nobody looks for does no harm: some languages' tools leave something of their own.
            if let Some(supported) = World::supported(export).filter(|supported| !supported.fits(export)) {
                problems.push(Problem::Version { direction: "exports", interface: export.clone(), supported: supported.text });
            }
        }
        for import in &self.imports {
            match interface::given(import) {
                Some(given) if given.fits(import) => {}
                Some(given) => problems.push(Problem::Version { direction: "imports", interface: import.clone(), supported: given.text }),
                None => problems.push(Problem::UnknownImport { interface: import.clone() }),
            }
        }
        for world in &self.worlds {
            let missing = world.exports().filter(|wanted| !self.exports.iter().any(|export| export.name == wanted.name));
            problems.extend(missing.map(|interface| Problem::Missing { world: *world, interface }));
        }
        problems
    }
}

impl fmt::Display for Inspection {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |formatter: &mut fmt::Formatter<'_>, title: &str, items: &mut dyn Iterator<Item = String>| {
            let items: Vec<String> = items.collect();
            if items.is_empty() {
                writeln!(formatter, "{title}: nothing")
            } else {
                writeln!(formatter, "{title}:\n  {}", items.join("\n  "))
            }
        };
        writeln!(formatter, "size: {} bytes", self.size)?;
        writeln!(formatter, "sha256: {}", self.digest)?;
        list(formatter, "is", &mut self.worlds.iter().map(World::to_string))?;
        list(formatter, "exports", &mut self.exports.iter().map(Interface::to_string))?;
        list(formatter, "imports", &mut self.imports.iter().map(Interface::to_string))?;
        list(formatter, "may use, if granted", &mut self.may_use.iter().map(|need| format!("{need}: {}", need.meaning())))?;
        if self.can_run {
            write!(formatter, "this host can run it")
        } else {
            write!(formatter, "this host cannot run it:")?;
            self.problems.iter().try_for_each(|problem| write!(formatter, "\n  {problem}"))
        }
    }
}
