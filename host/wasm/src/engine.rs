//! What all components run on: one engine, one machine-code cache, and threads of their own, so that a component that spins delays no one else.

use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::runtime::Runtime;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinHandle;
use wasmtime::{Config, InstanceAllocationStrategy, PoolingAllocationConfig};

use crate::cache::{Cache, Sha256Digest};
use crate::component::{Component, LoadError, Source};
use crate::inspect;
use crate::limits::Limits;
use crate::metrics::Metrics;
use crate::net::{Resolver, SystemResolver};

/// How often a component that computes is looked at: often enough to share a thread fairly, seldom enough to cost nothing.
pub(crate) const TICK: Duration = Duration::from_millis(10);

/// Core modules that a component may consist of. Rust's have three or four, JavaScript's and Python's up to about twenty.
const CORE_INSTANCES_PER_COMPONENT: u32 = 32;

/// Memories of one component: its own, and for some languages one of the adapter to older WASI, or of each linked library.
const MEMORIES_PER_COMPONENT: u32 = 4;

/// Tables of one component.
const TABLES_PER_COMPONENT: u32 = 16;

/// Functions that one table may hold. Interpreters compiled to WebAssembly have some ten thousand.
const TABLE_ELEMENTS: usize = 100_000;

/// wasmtime's own bookkeeping for one core instance or component, in bytes; the default of 1 MiB is too small for Python's.
const INSTANCE_BYTES: usize = 4 * 1024 * 1024;

/// A page of WebAssembly's memory, in bytes.
const PAGE_BYTES: usize = 64 * 1024;

/// What components may use of this machine.
#[derive(Clone, Debug)]
pub struct EngineOptions {
    /// Where machine code is kept; without it every start compiles.
    pub cache_dir: Option<PathBuf>,
    /// Instances of all components together.
    pub max_instances: u32,
    /// Memory that any instance may have in bytes: what a component's own limit is at most.
    pub memory_limit: usize,
    /// Who looks up the names that components ask for.
    pub resolver: Arc<dyn Resolver>,
    /// Threads on which components run.
    pub workers: usize,
}

impl Default for EngineOptions {
    fn default() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            cache_dir: None,
            // Some adapters and hooks with a pool each, and room for a second generation of all of them while they are swapped.
            max_instances: 128,
            // What one component has unless it is told otherwise.
            memory_limit: Limits::default().memory,
            resolver: Arc::new(SystemResolver::default()),
            // Components mostly wait for their database: a few threads serve them all, and cannot take the whole machine.
            workers: cores.clamp(2, 4),
        }
    }
}

/// Why the engine could not be made.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The configuration is refused by wasmtime, or the machine lacks what it asks for.
    #[error("failed to make the component engine: {0}")]
    Engine(String),
    /// The cache directory cannot be made.
    #[error("failed to make the component cache {path}: {source}", path = path.display())]
    Cache {
        /// Where.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Threads cannot be had.
    #[error("failed to start the component threads: {0}")]
    Threads(std::io::Error),
}

/// What all components run on. Clones are the same engine; its threads end with the last one.
#[derive(Clone)]
pub struct Engine(Arc<Inner>);

struct Inner {
    wasmtime: wasmtime::Engine,
    options: EngineOptions,
    cache: Option<Cache>,
    metrics: Arc<Metrics>,
    /// Instances that may still be promised to pools.
    room: Arc<Semaphore>,
    runtime: ThreadsOnDrop,
}

/// A runtime that ends without waiting, as one must that may be dropped by asynchronous code.
struct ThreadsOnDrop(Option<Runtime>);

impl Drop for ThreadsOnDrop {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

impl Engine {
    /// Makes an engine, its threads and its cache directory.
    ///
    /// # Errors
    /// [`Error`] says what could not be had.
    pub fn new(options: EngineOptions) -> Result<Self, Error> {
        let wasmtime = wasmtime::Engine::new(&config(&options)).map_err(|error| Error::Engine(format!("{error:#}")))?;
        let cache = match &options.cache_dir {
            Some(path) => Some(Cache::open(path.clone()).map_err(|source| Error::Cache { path: path.clone(), source })?),
            None => None,
        };
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(options.workers.max(1))
            .thread_name("component")
            .enable_all()
            .build()
            .map_err(Error::Threads)?;
        tick(&wasmtime).map_err(Error::Threads)?;
        let room = Arc::new(Semaphore::new(options.max_instances as usize));
        let metrics = Arc::default();
        Ok(Self(Arc::new(Inner { wasmtime, options, cache, metrics, room, runtime: ThreadsOnDrop(Some(runtime)) })))
    }

    /// Loads a component: from the cache, or by compiling it, off the asynchronous threads.
    ///
    /// # Errors
    /// [`LoadError`] if it cannot be read, or is not a component.
    pub async fn load(&self, source: Source) -> Result<Component, LoadError> {
        let engine = self.clone();
        let name = source.to_string();
        let task = self.runtime(|runtime| runtime.spawn_blocking(move || engine.load_blocking(&source)));
        match task {
            Some(task) => task.await.unwrap_or_else(|error| Err(LoadError::Compile { component: name, reason: error.to_string() })),
            None => Err(LoadError::Compile { component: name, reason: "the engine has ended".to_owned() }),
        }
    }

    fn load_blocking(&self, source: &Source) -> Result<Component, LoadError> {
        let bytes = source.read()?;
        self.compile_blocking(&source.to_string(), &bytes)
    }

    /// Takes the component's machine code from the cache, or makes it.
    pub(crate) fn compile_blocking(&self, name: &str, bytes: &[u8]) -> Result<Component, LoadError> {
        let began = Instant::now();
        let digest = Sha256Digest::of(bytes);
        let cached = self.0.cache.as_ref().and_then(|cache| cache.load(&self.0.wasmtime, &digest));
        let from_cache = cached.is_some();
        let compiled = match cached {
            Some(compiled) => compiled,
            None => {
                inspect::check_format(bytes)
                    .map_err(|problem| LoadError::Compile { component: name.to_owned(), reason: problem.to_string() })?;
                let failed = |error: wasmtime::Error| LoadError::Compile { component: name.to_owned(), reason: one_line(&error) };
                let compiled = wasmtime::component::Component::from_binary(&self.0.wasmtime, bytes).map_err(failed)?;
                if let Some(cache) = &self.0.cache
                    && let Err(error) = cache.store(&self.0.wasmtime, &digest, &compiled)
                {
                    // Only the next start is slower for it.
                    tracing::warn!(directory = %cache.directory().display(), error = format!("{error:#}"), "failed to keep machine code");
                }
                compiled
            }
        };
        tracing::info!(component = name, %digest, bytes = bytes.len(), from_cache, elapsed = ?began.elapsed(), "component loaded");
        Ok(Component { name: name.into(), digest, compiled })
    }

    pub(crate) fn wasmtime(&self) -> &wasmtime::Engine {
        &self.0.wasmtime
    }

    pub(crate) fn options(&self) -> &EngineOptions {
        &self.0.options
    }

    pub(crate) fn metrics(&self) -> &Arc<Metrics> {
        &self.0.metrics
    }

    /// Promises `instances` to a pool, until the permit is dropped. `None` if there is not that much room.
    pub(crate) fn reserve(&self, instances: u32) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.0.room).try_acquire_many_owned(instances).ok()
    }

    /// Runs `future` on the components' own threads. `None` if they have ended.
    pub(crate) fn spawn<F>(&self, future: F) -> Option<JoinHandle<F::Output>>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        self.runtime(|runtime| runtime.spawn(future))
    }

    fn runtime<T>(&self, with: impl FnOnce(&Runtime) -> T) -> Option<T> {
        self.0.runtime.0.as_ref().map(with)
    }
}

/// An error with its causes. Those of the parser have bytes in them, a line each.
fn one_line(error: &wasmtime::Error) -> String {
    format!("{error:#}").split_whitespace().collect::<Vec<_>>().join(" ")
}

fn config(options: &EngineOptions) -> Config {
    let instances = options.max_instances;
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(instances)
        .total_core_instances(instances.saturating_mul(CORE_INSTANCES_PER_COMPONENT))
        .max_core_instances_per_component(CORE_INSTANCES_PER_COMPONENT)
        .total_memories(instances.saturating_mul(MEMORIES_PER_COMPONENT))
        .max_memories_per_component(MEMORIES_PER_COMPONENT)
        .total_tables(instances.saturating_mul(TABLES_PER_COMPONENT))
        .max_tables_per_component(TABLES_PER_COMPONENT)
        .table_elements(TABLE_ELEMENTS)
        // One for the call that runs, one for what a component's own runtime may start beside it.
        .total_stacks(instances.saturating_mul(2))
        .max_memory_size(options.memory_limit.next_multiple_of(PAGE_BYTES))
        .max_core_instance_size(INSTANCE_BYTES)
        .max_component_instance_size(INSTANCE_BYTES);
    let mut config = Config::new();
    config
        .allocation_strategy(InstanceAllocationStrategy::Pooling(pool))
        .wasm_component_model(true)
        // Nothing is built for it, and a table that grows beyond 64 bits is told to a limiter only as a failure, of something that the limiter was never asked about.
        .wasm_memory64(false)
        // Components made by QuickJS's asynchronous runtime are refused without it; it costs about 2 us a call.
        .concurrency_support(true)
        .epoch_interruption(true);
    config
}

/// Makes time pass for components that compute. A thread, since the threads that components run on are just what one that spins would keep busy.
fn tick(engine: &wasmtime::Engine) -> std::io::Result<()> {
    let engine = engine.weak();
    let thread = std::thread::Builder::new().name("component-tick".to_owned());
    thread.spawn(move || {
        while let Some(engine) = engine.upgrade() {
            engine.increment_epoch();
            drop(engine);
            std::thread::sleep(TICK);
        }
    })?;
    Ok(())
}
